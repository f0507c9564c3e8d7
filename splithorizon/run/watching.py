"""Runs a watch on the mesh of a run, and puts what it saw into the report's form."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Event

from splithorizon.base import process
from splithorizon.istio.info import MeshInfo
from splithorizon.mesh.mesh import Mesh
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.watch_report import WatchReport
from splithorizon.run.watch_results import watch_report
from splithorizon.watch.budget import Budget
from splithorizon.watch.watching import Watching


def watch(info: MeshInfo, options: Options, progress: Progress, stop: Event) -> WatchReport:
    """Send on every route until ``stop`` is set or the time of the options is over; remove the senders, and report.

    Raises EnvironmentBroke where the senders cannot be created.
    """
    with ExitStack() as undo:
        watching = Watching(Mesh(info), progress.say, rate=options.rate)
        with progress.step("senders on every route"):
            watching.start(undo)
        until = f"for {options.watch_seconds:.0f} s" if options.watch_seconds else "until Ctrl-C"
        progress.say(f"watching {until}: change the mesh now")
        watched = watching.run(stop, seconds=options.watch_seconds)
        progress.say(f"watched for {watched.seconds:.0f} s")
        with process.cleaning_up(), progress.step("senders removed"):
            undo.close()
    return watch_report(watched, Budget.parse(options.budget))
