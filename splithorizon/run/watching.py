"""Runs a watch on the mesh of a run, and puts what it saw into the report's form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Protocol

from rich.table import Table

from splithorizon.base import process
from splithorizon.istio.info import MeshInfo
from splithorizon.mesh.mesh import Mesh
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.watch_report import WatchReport
from splithorizon.run.watch_results import watch_report
from splithorizon.watch.budget import Budget
from splithorizon.watch.phases import PhaseLog
from splithorizon.watch.watching import RouteSoFar, Watching


class MadeChange(Protocol):
    """A change of the mesh that the run makes itself while it watches, such as an upgrade."""

    def make(self, phases: PhaseLog, stop: Event) -> None:
        """Make it, phase by phase; where ``stop`` is set, end after the phase that goes on."""


def watch(
    info: MeshInfo, options: Options, progress: Progress, stop: Event, change: MadeChange | None = None
) -> WatchReport:
    """Send on every route until ``stop`` is set or the time of the options is over; remove the senders, and report.

    With a ``change`` the watch ends when that is made. Raises EnvironmentBroke where the senders cannot be created.
    """
    phases = PhaseLog()
    with ExitStack() as undo:
        watching = Watching(Mesh(info), progress.say, rate=options.rate, phases=phases)
        with progress.step("senders on every route"):
            watching.start(undo)
        undo.enter_context(_counts_shown(watching, progress))
        if change is None:
            until = f"for {options.watch_seconds:.0f} s" if options.watch_seconds else "until Ctrl-C"
            progress.say(f"watching {until}: change the mesh now")
            watched = watching.run(stop, seconds=options.watch_seconds)
        else:
            with _made(change, phases, stop):
                watched = watching.run(stop)
        progress.say(f"watched for {watched.seconds:.0f} s")
        with process.cleaning_up(), progress.step("senders removed"):
            undo.close()
    return watch_report(watched, Budget.parse(options.budget))


@contextmanager
def _counts_shown(watching: Watching, progress: Progress) -> Iterator[None]:
    """Show the counts of each route as a table on a terminal; elsewhere the watch says them now and then."""
    with progress.table(lambda: _table(watching.so_far)) as shown:
        watching.says_counts = not shown
        yield


def _table(routes: Iterable[RouteSoFar]) -> Table:
    found = Table("route", "sent", "lost", "paths", "nothing answered for", box=None, header_style="dim")
    for one in routes:
        style = "red" if one.silent else ""
        silent = f"{one.silent:.0f} s" if one.silent else ""
        found.add_row(str(one.route), f"{one.sent:,}", f"{one.lost:,}", one.paths, silent, style=style)
    return found


@contextmanager
def _made(change: MadeChange, phases: PhaseLog, stop: Event) -> Iterator[None]:
    """Make a change beside the block; its end sets ``stop``, and the block's end waits for it."""
    with ThreadPoolExecutor(1, thread_name_prefix="change") as pool:
        made: Future[None] = pool.submit(change.make, phases, stop)
        made.add_done_callback(lambda _: stop.set())
        try:
            yield
        except BaseException:
            # The watch was broken off: no further phase begins, and the programs of this one end.
            stop.set()
            process.cancel_all()
            raise
    made.result()
