"""Asks a program in a pod for JSON about itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.kube.client import Kube

T = TypeVar("T")

# Go writes an empty list as null.
_JSON_BEGINS = re.compile(r"^(?:[{\[]|null$)", re.MULTILINE)


@dataclass(frozen=True)
class DebugApi:
    """A container that answers ``GET`` requests to its own loopback port by a command line of its own."""

    kube: Kube
    namespace: str
    pod: str
    container: str
    command: Sequence[str]

    def get(self, path: str, read: Callable[[Any], T]) -> T:
        """Ask for a path, and read the answer; raises EnvironmentBroke where it cannot be had or has another form."""
        argv = [*self.command, "GET", path]
        by_hand = f"{self.kube.kubectl} -n {self.namespace} exec {self.pod} -c {self.container} -- {' '.join(argv)}"
        stdout, stderr, status = self.kube.execute(
            self.pod, self.namespace, self.container, argv, within=timeouts().small_command
        )
        if status:
            seen = f"exit status {status}: {(stderr or stdout).strip()[-200:]}"
            raise EnvironmentBroke(f"{self} does not answer {path}", seen=seen, next_command=by_hand)
        try:
            return read(parse(stdout))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as unknown:
            raise EnvironmentBroke(
                f"{self} answers {path} in a form that is not known",
                seen=f"{type(unknown).__name__}: {unknown}",
                next_command=by_hand,
            ) from None

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"{self.container} of {self.namespace}/{self.pod} in the {self.kube.role}"


def parse(printed: str) -> Any:
    """Read the JSON that follows the log lines which such a command may print first; raises ValueError."""
    if (begin := _JSON_BEGINS.search(printed)) is None:
        raise ValueError(f"no line begins as JSON: {printed[-200:]!r}")
    return json.loads(printed[begin.start() :])
