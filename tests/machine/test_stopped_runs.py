"""A run that is stopped, at whichever step, leaves nothing."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import pytest

from lab.engine import Engine
from splithorizon.run.journal import runs_folder
from tests.machine.broken_off import STEPS, SUITE, left
from tests.machine.conftest import Starter

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    ("number", "step"),
    [(signal.SIGINT, "clusters"), (signal.SIGTERM, "istiod"), (signal.SIGINT, "tests")],
    ids=["ctrl-c-at-clusters", "sigterm-at-istiod", "ctrl-c-at-tests"],
)
def test_a_stopped_run_removes_everything(
    start: Starter,
    podman: Engine,
    number: signal.Signals,
    step: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kubeconfig = tmp_path / "the-users-own"
    kubeconfig.write_bytes(b"not even YAML: [")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    run = start(*SUITE)
    run.reaches(STEPS[step])
    open_to_others = _open_to_others()
    run.send(number)

    assert run.ends() == 2, run.output
    assert left(podman) == [], run.output
    assert open_to_others == {}
    assert kubeconfig.read_bytes() == b"not even YAML: ["


def _open_to_others() -> dict[str, str]:
    """What of the runs' folders anybody but their owner may read, write or enter."""
    modes = {}
    for path in runs_folder().rglob("*"):
        # The run goes on, and puts files in the place of temporary ones.
        with suppress(FileNotFoundError):
            if not path.is_symlink():
                modes[path] = path.lstat().st_mode
    return {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077}
