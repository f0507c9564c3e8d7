"""Runs functions in parallel threads: all of them end, and the first failure is raised."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

from splithorizon.base.cancel import cancel_all, uncancel

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def for_each(keys: Iterable[K], function: Callable[[K], T]) -> dict[K, T]:
    """Call ``function`` with each key, in parallel; return the results by key, in the order of the keys.

    Errors and interrupts are treated as by ``run_all``.
    """
    return run_all({key: partial(function, key) for key in keys})


def run_all(steps: Mapping[K, Callable[[], T]]) -> dict[K, T]:
    """Run each step in a thread; return the results by key once all steps have ended.

    Raises the first failure, after all steps have ended; each later failure becomes a note of it.
    An interrupt of this thread cancels the run, which ends the child processes of the steps, and is raised then. Where
    it is the end of a test's time and not of the run, the run goes on after that.
    """
    failures: dict[K, BaseException] = {}

    def attempt(key: K, step: Callable[[], T]) -> T:
        try:
            return step()
        except BaseException as error:
            failures[key] = error
            raise

    with ThreadPoolExecutor(max(1, len(steps))) as pool:
        try:
            # Each thread inherits whether this one is inside ``cleaning_up``.
            futures = {
                key: pool.submit(contextvars.copy_context().run, attempt, key, step) for key, step in steps.items()
            }
            wait(futures.values())
        except BaseException as interrupt:
            cancel_all()
            if not isinstance(interrupt, KeyboardInterrupt | SystemExit):
                pool.shutdown()
                uncancel()
            raise
    if failures:
        first, *others = failures
        for key in others:
            failures[first].add_note(f"then {key} failed too: {failures[key]}")
        raise failures[first]
    return {key: future.result() for key, future in futures.items()}


def side_by_side(**steps: Callable[[], T]) -> dict[str, T]:
    """Run steps as ``run_all`` does, with their names as keyword arguments."""
    return run_all(steps)
