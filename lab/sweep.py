"""Removes what killed runs left, clusters, containers and networks: only what a dead run's own record names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from lab import orphans, topology
from lab.engine import Engine, find, network, probe
from lab.images.build import NODES
from lab.images.cache import Cache, size
from lab.images.cache import root as cache_root
from lab.kind import KIND_LABEL
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.run.journal import Entry, Journal, dead_journals, kept_journals, runs_folder, unreadable
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.sweep import left_in_mesh, on_existing_mesh, only_sweep, remove_stillborn
from splithorizon.undo import undo_log


def sweep(base: Path | None, remove: Callable[[Entry], None]) -> Iterator[str]:
    """Undo every dead run's entries, last first; yield what went, and what could not go and why.

    A record goes last, and stays where anything could not go, so a sweep can be repeated. First of all, what a run had
    changed in clusters that it kept is given back. An existing mesh is only spoken of: what restores it is
    ``mesh_sweep``, which its owner asks for.
    """
    base = base or runs_folder()
    with only_sweep(base):
        yield from unreadable(base)
        for journal in kept_journals(base):
            yield from (
                left_in_mesh(journal) if on_existing_mesh(journal) else (line for line, _ in _give_back(journal))
            )
        for journal in dead_journals(base):
            if on_existing_mesh(journal):
                yield from left_in_mesh(journal)
                continue
            gone = True
            if not any(entry.kind == "cluster" for entry in journal.entries):
                for line, given_back in _give_back(journal):
                    gone = gone and given_back
                    yield line
            for entry in reversed(journal.entries):
                try:
                    remove(entry)
                except EnvironmentBroke as problem:
                    gone = False
                    yield f"{entry.kind} {entry.name} stays: {problem}"
                else:
                    yield f"removed {entry.kind} {entry.name}"
            if gone:
                journal.close()
                yield f"removed run folder {journal.folder}"
        remove_stillborn(base)


def sweep_dead(progress: Progress) -> Iterator[str]:
    """Remove what dead runs left, in both engines; yield what went and what could not.

    An existing mesh is not written to: of what a dead run left there the command is given that restores it.
    """

    def remove(entry: Entry) -> None:
        if entry.kind == "probe":
            for found in find.installed():
                probe.remove_remains(found)
            return
        engine = Engine.from_json(entry.facts["engine"])
        if entry.kind == "cluster":
            with progress.step(f"leftover cluster {entry.name} removed"):
                # First what may still be making it: kind, and the engine's command that kind started.
                orphans.end({entry.facts["folder"], f"{KIND_LABEL}={entry.name}"})
                for container in {topology.node_of(entry.name), *containers_of(engine, entry.name)}:
                    engine.remove_container(container)
        elif entry.kind == "container":
            engine.remove_container(entry.name)
        elif entry.kind == "network":
            network.remove(engine, entry.name)

    yield from sweep(None, remove)


def sweep_all(options: Options, progress: Progress) -> Iterator[str]:
    """``--sweep``: dead runs' leftovers, then the sizes in the cache; with --rebuild the cache goes too."""
    yield from sweep_dead(progress)
    yield from sweep_kept(None, _stands)
    folder = cache_root()
    cache = Cache(folder, progress.say)
    if options.rebuild:
        yield from (f"removed {entry} ({freed / 2**20:.0f} MiB)" for entry, freed in cache.sweep(set()))
    for engine in find.installed():
        yield from _node_images(engine, remove=options.rebuild)
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield f"cached: {entry.name} ({size(entry) / 2**20:.0f} MiB)"
    yield f"cache: {folder} ({size(folder) / 2**20:.0f} MiB; remove it with --sweep --rebuild)"


def _node_images(engine: Engine, *, remove: bool) -> Iterator[str]:
    try:
        found = engine.images(NODES)
    except EnvironmentBroke:
        # An engine that is installed and does not run holds what cannot be asked for.
        return
    for name, held in found:
        if not remove:
            yield f"in {engine.provider}: {name} ({held})"
        elif engine.remove_image(name):
            yield f"removed {name} from {engine.provider} ({held})"
        else:
            yield f"{name} stays in {engine.provider}: a container uses it"


def _stands(entry: Entry) -> bool:
    return entry.kind == "cluster" and bool(containers_of(Engine.from_json(entry.facts["engine"]), entry.name))


def _give_back(journal: Journal) -> Iterator[tuple[str, bool]]:
    """Take a run's pending changes back; yield what is said of each, and whether it is as it was."""
    for entry in undo_log.pending_in(journal.folder):
        try:
            change = entry.change
            entry.undo()
        except EnvironmentBroke as problem:
            yield f"not given back: {problem}", False
        else:
            yield f"gave back {change}", True


def sweep_kept(base: Path | None, stands: Callable[[Entry], bool]) -> Iterator[str]:
    """Forget every kept run of which nothing is left; yield its folder, or why this is not known.

    A person removed its clusters: only the run's own folder, with kubeconfigs that lead nowhere, is left.
    """
    base = base or runs_folder()
    with only_sweep(base):
        for journal in kept_journals(base):
            try:
                forgotten = _forget(journal, stands)
            except EnvironmentBroke as problem:
                yield f"run folder {journal.folder} stays: {problem}"
            else:
                if forgotten:
                    yield f"removed run folder {journal.folder}: the clusters that it kept are gone"


def _forget(journal: Journal, stands: Callable[[Entry], bool]) -> bool:
    if any(stands(entry) for entry in journal.entries):
        return False
    journal.close()
    return True


def containers_of(engine: Engine, cluster_name: str) -> list[str]:
    """The containers of a kind cluster."""
    return engine.containers(label=f"{KIND_LABEL}={cluster_name}")
