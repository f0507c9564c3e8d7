"""The page of every verdict in a real browser: it logs nothing, is complete, and fits in light, dark and narrow."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from splithorizon.run import comparing
from splithorizon.run.page import page
from splithorizon.run.report import RunReport
from tests.machine.browser import Page, chromium
from tests.run.page.test_page import EVERY, GREEN, HOSTILE, RED, saying

pytestmark = pytest.mark.engine

PAGES = {
    **EVERY,
    "compared": replace(RED, comparison=comparing.compare([GREEN], [RED])),
    "hostile": saying(HOSTILE, RED),
}
LOOKS = {"light": (1200, False), "dark": (1200, True), "narrow": (400, False)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Chromium of the machine, or of its distribution's packages."""
    if not shutil.which("chromium"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", *command], check=True, timeout=800, env=environment)
    with chromium("chromium", tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(params=[*PAGES.values()], ids=[*PAGES])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[RunReport, Path]:
    return request.param, page.write(request.param, tmp_path)


def test_a_page_logs_nothing_and_is_complete(browser: Page, written: tuple[RunReport, Path]) -> None:
    report, file = written
    browser.open(file)
    assert browser.logged == []
    assert browser.evaluate("document.querySelectorAll('h1').length") == 1
    assert report.verdict.upper() in browser.evaluate("document.querySelector('h1').innerText")
    assert browser.evaluate("document.querySelectorAll('figure svg').length") == (1 if report.clusters else 0)
    assert browser.evaluate("document.scripts.length + document.images.length") == 0
    # The style sheet is in force: the policy's digest fits.
    assert browser.evaluate("document.styleSheets[0].cssRules.length") > 20


@pytest.mark.parametrize("look", LOOKS)
def test_a_page_fits_and_changes_its_colours(
    browser: Page, written: tuple[RunReport, Path], look: str, tmp_path: Path
) -> None:
    _, file = written
    width, dark = LOOKS[look]
    browser.looks(width=width, dark=dark)
    browser.open(file)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
    kept = Path(os.environ.get("SCREENSHOTS", tmp_path))
    name = next(name for name, report in PAGES.items() if report is written[0])
    assert len(browser.screenshot(kept / f"{name}-{look}.png")) > 10_000


def test_everything_can_be_reached_by_keyboard(browser: Page, tmp_path: Path) -> None:
    browser.looks(width=1200)
    browser.open(page.write(RED, tmp_path))
    reached = [browser.press_tab() for _ in range(12)]
    assert reached[0] == "A", "the link that skips the head"
    assert {"PRE", "SUMMARY"} <= set(reached)


def test_what_a_browser_refuses_would_be_noticed(browser: Page, tmp_path: Path) -> None:
    file = page.write(RED, tmp_path)
    file.write_text(file.read_text().replace("<header>", "<header style='color: red'><script>1</script>"))
    browser.open(file)
    assert len(browser.logged) == 2
    assert all("Content Security Policy" in message for message in browser.logged)
