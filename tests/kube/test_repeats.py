"""Reads that an API server does not answer at once are repeated within a bound and counted; writes never are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from splithorizon.base import timeouts
from splithorizon.kube import api_server, repeats
from splithorizon.kube.access_review import Access, is_allowed
from splithorizon.kube.api_server import NoAnswer, Refused
from splithorizon.kube.client import Kube
from tests.support.small_api import Failure, SmallApi, small_api, write_kubeconfig


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pauses of milliseconds, within a bound that a slow machine does not reach."""
    monkeypatch.setattr(api_server, "_PAUSES", (1e-4, 1e-4, 1e-4))
    with timeouts.shortened(0.4):
        yield


def counted(kube: Kube) -> dict[str, int]:
    return repeats.counted(kube.kubeconfig.parent)


@pytest.mark.parametrize("how", ["lost", "unanswered", 429, 500, 502, 503, 504])
def test_a_read_is_repeated_and_counted(how: int | str, api: SmallApi, kube: Kube) -> None:
    api.put("Pod", "p", "n")
    api.failures.append(Failure(2, how=how))
    assert kube.get("Pod", "p", "n") is not None
    assert len(api.asked) == 3
    assert counted(kube) == {"primary": 2}


def test_a_bounded_read_and_a_question_by_post_are_repeated_too(api: SmallApi, kube: Kube) -> None:
    api.answers["/readyz"] = (200, b"ok")
    api.failures.append(Failure(1, how="lost"))
    assert kube.read("/readyz", limit=10, within=5) == b"ok"
    api.failures.append(Failure(1, how=429))
    assert is_allowed(kube, Access("list", "pods"))
    assert counted(kube) == {"primary": 2}


@pytest.mark.parametrize("how", ["lost", "unanswered", 429, 503])
def test_a_write_is_sent_once(how: int | str, api: SmallApi, kube: Kube) -> None:
    api.put("Pod", "p", "n")
    api.failures.append(Failure(1, how=how))
    with pytest.raises((NoAnswer, Refused)):
        kube.patch("Pod", "p", "n", {"metadata": {"labels": {"a": "b"}}})
    assert [method for method, *_ in api.asked] == ["PATCH"]
    assert counted(kube) == {}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refusal_is_not_repeated(status: int, api: SmallApi, kube: Kube) -> None:
    api.failures.append(Failure(9, how=status))
    with pytest.raises(Refused):
        kube.list("Pod")
    assert len(api.asked) == 1


def test_it_waits_as_long_as_the_server_asks_within_the_bound(
    api: SmallApi, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.small_api.RETRY_AFTER", "1")
    with timeouts.shortened(5):
        api.put("Pod", "p", "n")
        api.failures.append(Failure(1, how=429))
        begun = time.monotonic()
        assert kube.get("Pod", "p", "n") is not None
        assert time.monotonic() - begun >= 1
    monkeypatch.setattr("tests.support.small_api.RETRY_AFTER", "3600")
    api.failures.append(Failure(9, how=429))
    with timeouts.shortened(0.02), pytest.raises(Refused, match="HTTP 429"):
        kube.get("Pod", "p", "n")


def test_a_server_that_stays_silent_is_waited_for_once(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "primary.kubeconfig"
    with small_api(kubeconfig) as server:
        write_kubeconfig(kubeconfig, server.url)
    kube = Kube(kubeconfig, "primary")
    for _ in range(3):
        with pytest.raises(NoAnswer, match="does not answer"):
            kube.list("Pod")
    # Three of the first read, and none of those that followed.
    assert counted(kube) == {"primary": 3}


def test_every_process_counts_into_the_runs_folder(tmp_path: Path) -> None:
    assert repeats.counted(tmp_path) == {}
    for cluster in ("primary", "remote", "primary"):
        repeats.note(tmp_path, cluster)
    assert repeats.counted(tmp_path) == {"primary": 2, "remote": 1}
    repeats.note(tmp_path / "gone", "primary")
