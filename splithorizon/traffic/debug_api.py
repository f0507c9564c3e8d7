"""Reads the debug and admin endpoints of istiod and Envoy, which answer with JSON on a loopback port of the pod."""

from __future__ import annotations

import json
import re
import shlex
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
    """A container with a command that sends ``GET`` requests to its loopback port, such as ``pilot-agent request``."""

    kube: Kube
    namespace: str
    pod: str
    container: str
    command: Sequence[str]

    def get(self, path: str, read: Callable[[Any], T]) -> T:
        """Request a path and convert the answer by ``read``.

        Raises EnvironmentBroke if there is no answer, or if ``read`` fails because the answer has an unknown format.
        """
        return self._answer([*self.command, "GET", path], path, read)

    def read(self, read: Callable[[Any], T]) -> T:
        """Run the command as it is, one that prints JSON by itself, and convert that; raises as ``get`` does."""
        return self._answer([*self.command], self.command[1], read)

    def _answer(self, argv: Sequence[str], asked: str, read: Callable[[Any], T]) -> T:
        by_hand = f"{self.kube.kubectl} -n {self.namespace} exec {self.pod} -c {self.container} -- {shlex.join(argv)}"
        stdout, stderr, status = self.kube.execute(
            self.pod, self.namespace, self.container, argv, within=timeouts().small_command
        )
        if status:
            seen = f"exit status {status}: {(stderr or stdout).strip()[-200:]}"
            raise EnvironmentBroke(f"{self} does not answer {asked}", seen=seen, next_command=by_hand)
        try:
            return read(parse(stdout))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise EnvironmentBroke(
                f"{self} answers {asked} in an unknown format",
                seen=f"{type(error).__name__}: {error}",
                next_command=by_hand,
            ) from None

    def __str__(self) -> str:
        """The container, as error messages name it."""
        return f"{self.container} of {self.namespace}/{self.pod} in the {self.kube.cluster}"


def parse(printed: str) -> Any:
    """Parse the JSON in the output of such a command, which may print log lines first; raises ValueError."""
    if (begin := _JSON_BEGINS.search(printed)) is None:
        raise ValueError(f"no line begins with JSON: {printed[-200:]!r}")
    return json.loads(printed[begin.start() :])
