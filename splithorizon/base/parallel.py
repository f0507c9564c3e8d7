"""The same step for several keys at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from splithorizon.base import process

K = TypeVar("K")
T = TypeVar("T")


def for_each(keys: Iterable[K], step: Callable[[K], T]) -> dict[K, T]:
    """Call ``step`` with each key, in threads side by side; return the results by key once all have ended.

    The first failure is raised then, and the later ones are its notes, by the keys' texts.
    """
    named = {str(key): key for key in keys}
    found = process.side_by_side(**{name: partial(step, key) for name, key in named.items()})
    return {key: found[name] for name, key in named.items()}
