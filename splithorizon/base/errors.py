"""Errors that say nothing about the mesh, by who has to act on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_LINES_SHOWN = 6


class UsageProblem(Exception):
    """Bad input, detected before anything was created. The message is one line and says what to correct."""


class EnvironmentBroke(Exception):
    """The environment failed before the mesh could be judged: the run is inconclusive, not failed."""

    def __init__(self, what: str, *, seen: str = "", next_command: str = "") -> None:
        """State what failed, the last observation, and a command that shows more."""
        self.what = what
        self.seen = seen
        self.next_command = next_command
        super().__init__(_sentences({"": what, "Seen: ": seen, "Try: ": next_command}))

    @property
    def without_command(self) -> str:
        """What failed and the last observation, where the command is shown separately."""
        return _sentences({"": self.what, "Seen: ": self.seen})


class TimedOut(EnvironmentBroke):
    """A claim did not become true within its deadline."""


class CommandFailed(EnvironmentBroke):
    """A child process failed, did not end within its deadline, or could not be started."""

    def __init__(self, argv: Sequence[str], status: int | None, stdout: str, stderr: str, why: str = "") -> None:
        """Keep the command and its exit status, which is None if it has none; show the last lines of its output."""
        self.argv = tuple(argv)
        self.status = status
        shown = [_last_lines(text) for text in (stderr, stdout) if text.strip()]
        command = " ".join(argv) if len(argv) <= 4 else f"{' '.join(argv[:4])} …"
        super().__init__(f"`{command}` {why or f'ended with status {status}'}", seen=" | stdout: ".join(shown))


class Cancelled(Exception):
    """The run is cancelled: no new step is started."""


def _sentences(labelled: Mapping[str, str]) -> str:
    return ". ".join(f"{label}{text.rstrip('.')}" for label, text in labelled.items() if text)


def _last_lines(text: str) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-_LINES_SHOWN:])
