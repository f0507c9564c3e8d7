"""Asks a program in a pod for JSON about itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from splithorizon.durations import current as durations
from splithorizon.errors import EnvironmentBroke
from splithorizon.kube import Kube

_JSON_BEGINS = re.compile(r"^[{\[]", re.MULTILINE)


@dataclass(frozen=True)
class Program:
    """A container that answers ``GET`` requests to its own loopback port by a command line of its own."""

    kube: Kube
    namespace: str
    pod: str
    container: str
    command: Sequence[str]

    def get(self, path: str) -> Any:
        """Ask for a path; raises EnvironmentBroke where the container gives no JSON."""
        argv = [*self.command, "GET", path]
        stdout, stderr, status = self.kube.execute(
            self.pod, self.namespace, self.container, argv, within=durations().small_command
        )
        if status:
            raise EnvironmentBroke(
                f"{self} does not answer {path}",
                seen=f"exit status {status}: {(stderr or stdout).strip()[-200:]}",
                next_command=self._by_hand(argv),
            )
        try:
            return read(stdout)
        except ValueError:
            raise EnvironmentBroke(
                f"{self} answers {path} with no JSON", seen=stdout[-200:], next_command=self._by_hand(argv)
            ) from None

    @contextmanager
    def known_form(self, path: str) -> Iterator[None]:
        """Reads its answer to a path; raises EnvironmentBroke where that has another form than those known."""
        try:
            yield
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as unknown:
            raise EnvironmentBroke(
                f"{self} answers {path} in a form that is not known",
                seen=f"{type(unknown).__name__}: {unknown}",
                next_command=self._by_hand([*self.command, "GET", path]),
            ) from None

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"{self.container} of {self.namespace}/{self.pod} in the {self.kube.role}"

    def _by_hand(self, argv: Sequence[str]) -> str:
        return f"{self.kube.kubectl} -n {self.namespace} exec {self.pod} -c {self.container} -- {' '.join(argv)}"


def read(printed: str) -> Any:
    """Read the JSON that follows the log lines which such a command may print first; raises ValueError."""
    if (begin := _JSON_BEGINS.search(printed)) is None:
        raise ValueError("no line begins as JSON")
    return json.loads(printed[begin.start() :])
