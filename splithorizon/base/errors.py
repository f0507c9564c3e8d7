"""What can go wrong that is not the mesh's fault, by who has to act on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_LINES_SHOWN = 6


class UsageProblem(Exception):
    """Bad input, noticed before anything was created; one line that says what mends it."""


class EnvironmentBroke(Exception):
    """The environment failed before a judgement was possible: inconclusive, never a failure."""

    def __init__(self, what: str, *, seen: str = "", next_command: str = "") -> None:
        """Say what broke, the last thing seen, and one command to look further."""
        self.what = what
        self.seen = seen
        self.next_command = next_command
        super().__init__(_sentences({"": what, "Seen: ": seen, "Try: ": next_command}))

    @property
    def without_command(self) -> str:
        """What broke and what was seen last, for a reader who gets the command apart."""
        return _sentences({"": self.what, "Seen: ": self.seen})


class TimedOut(EnvironmentBroke):
    """A claim did not become true within its deadline."""


class CommandFailed(EnvironmentBroke):
    """A program ended badly, or not in time, or could not be started."""

    def __init__(self, argv: Sequence[str], status: int | None, stdout: str, stderr: str, why: str = "") -> None:
        """Keep the command and its exit status (None: it never gave one); show its last lines."""
        self.argv = tuple(argv)
        self.status = status
        shown = [_last_lines(text) for text in (stderr, stdout) if text.strip()]
        command = " ".join(argv) if len(argv) <= 4 else f"{' '.join(argv[:4])} …"
        super().__init__(f"`{command}` {why or f'ended with status {status}'}", seen=" | stdout: ".join(shown))


class Cancelled(Exception):
    """The run is being stopped; nothing new is begun."""


def _sentences(labelled: Mapping[str, str]) -> str:
    return ". ".join(f"{label}{text.rstrip('.')}" for label, text in labelled.items() if text)


def _last_lines(text: str) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-_LINES_SHOWN:])
