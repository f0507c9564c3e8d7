"""Runs that change a mesh exclude each other by a Lease in the system namespace of each of its clusters.

The time that counts is the API server's, so that a wrong clock of the client does no harm.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from splithorizon.base import private_file
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.base.timeouts import current as timeouts
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube, Object
from splithorizon.undo import ownership

NAME = "splithorizon"
_FILE = "lease.json"
_ENDING = "ending"
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_CONFLICT = 409


@dataclass(frozen=True)
class Place:
    """A cluster, by its uid, and the namespace in it that a Lease belongs to."""

    kube: Kube
    namespace: str
    uid: str
    context: str

    @property
    def key(self) -> tuple[str, str]:
        """In this order Leases are taken."""
        return self.uid, self.namespace


def holder_of(run: str) -> str:
    """How a Lease names its holder."""
    return f"splithorizon run {run} on {socket.gethostname()}"


def uptime() -> float:
    """Seconds since boot, the same in every process; where the system has such a clock, sleep counts too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def require_free(places: Sequence[Place], say: Callable[[str], None]) -> None:
    """For a run that disrupts nothing: raise UsageProblem where another run disrupts this mesh now.

    Where the Lease may not be read, that is said, and the run goes on.
    """
    for place in _ordered(places):
        try:
            found, now = place.kube.get_dated("Lease", NAME, place.namespace)
        except Refused as refused:
            if refused.status != 403:
                raise
            say(f"{place.context}: this user may not read Leases in {place.namespace}: whether another run changes")
            say(f"{place.context}: the mesh meanwhile is not known")
            continue
        if found and not _free(found, now):
            raise _held(place, found)


def require_held(folder: Path, clock: Callable[[], float] = uptime) -> None:
    """Let a change of an existing mesh begin; ``folder`` is the run's, which its workers share.

    Raises EnvironmentBroke where this run does not hold the Lease, or is ending.
    """
    if (folder / _ENDING).exists():
        raise EnvironmentBroke("the run is ending: no further change of the mesh is begun")
    try:
        state = json.loads((folder / _FILE).read_text())
    except FileNotFoundError:
        raise EnvironmentBroke("this run does not hold the mesh's Lease: it changes nothing there") from None
    if state["lost"]:
        raise EnvironmentBroke("no further change of the mesh is begun", seen=state["lost"])
    if clock() >= state["until"]:
        raise EnvironmentBroke(
            "no further change of the mesh is begun: the run's Lease there has expired",
            seen=f"not renewed for {timeouts().lease_expires:g} s",
        )


def forbid_changes(folder: Path) -> None:
    """Let no worker begin another change: what is changed is about to be undone for the last time."""
    private_file.write(folder / _ENDING, "")


@dataclass
class MeshLease:
    """A run's hold of a mesh, renewed by threads until ``release``; ``folder`` tells the run's workers of it."""

    places: Sequence[Place]
    run: str
    folder: Path
    clock: Callable[[], float] = uptime
    _until: dict[tuple[str, str], float] = field(default_factory=dict, repr=False)
    _lost: str = ""
    _mutex: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _threads: list[threading.Thread] = field(default_factory=list, repr=False)

    def acquire(self) -> None:
        """Take the Lease of each cluster, in the order of their uids: two runs never wait for each other.

        Raises UsageProblem, which names the holder, where another run has one, or where this user may not.
        """
        try:
            for place in _ordered(self.places):
                self._take(place)
        except BaseException:
            self.release()
            raise

    def keep(self) -> None:
        """Renew each Lease from now on, in the background: one cluster's silence does not cost another its Lease."""
        for place in self.places:
            thread = threading.Thread(target=self._renew_until_stopped, args=(place,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def renew(self, place: Place) -> None:
        """Renew one Lease now; an API server that does not answer is asked again in time, another holder ends it."""
        asked = self.clock()
        try:
            found, now = place.kube.get_dated("Lease", NAME, place.namespace)
            if found is None:
                place.kube.create(self._lease(now), namespace=place.namespace)
            elif not self._ours(found):
                self._lose(f"{_who(found)} holds it in {place.context}")
                return
            else:
                self._patch(place, found, {"renewTime": _micro(now)})
        except EnvironmentBroke:
            # Not renewed: the next attempt reads again who holds it, and ``require_held`` counts the time.
            return
        self._note(place, asked)

    def release(self) -> None:
        """Give back what is still ours. Raises EnvironmentBroke where a cluster does not let us; it expires then."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        problem: EnvironmentBroke | None = None
        for place in self.places:
            if place.key not in self._until:
                continue
            try:
                self._give_back(place)
            except EnvironmentBroke as error:
                problem = problem or error
            else:
                del self._until[place.key]
        with suppress(FileNotFoundError):
            (self.folder / _FILE).unlink()
        if problem is not None:
            raise problem

    def _take(self, place: Place) -> None:
        asked = self.clock()
        try:
            found, now = place.kube.get_dated("Lease", NAME, place.namespace)
            if found is None:
                place.kube.create(self._lease(now), namespace=place.namespace)
            elif self._ours(found) or _free(found, now):
                spec = self._lease(now)["spec"]
                transitions = int((found.get("spec") or {}).get("leaseTransitions") or 0) + 1
                self._patch(place, found, {**spec, "leaseTransitions": transitions})
            else:
                raise _held(place, found)
        except Refused as refused:
            if refused.status == 403:
                raise UsageProblem(
                    f"{place.context}: a run that changes the mesh takes a Lease in {place.namespace}, and this user "
                    f"may not: {refused.message}. Nothing was created."
                ) from None
            if refused.status == _CONFLICT:
                raise UsageProblem(
                    f"{place.context}: another run took the mesh's Lease in this moment. Nothing was created."
                ) from None
            raise
        self._note(place, asked)

    def _patch(self, place: Place, found: Object, spec: Object) -> None:
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        place.kube.patch("Lease", NAME, place.namespace, {"metadata": version, "spec": spec})

    def _lease(self, now: datetime) -> Object:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "labels": ownership.labels(self.run)},
            "spec": {
                "holderIdentity": holder_of(self.run),
                "leaseDurationSeconds": round(timeouts().lease_expires),
                "acquireTime": _micro(now),
                "renewTime": _micro(now),
                "leaseTransitions": 0,
            },
        }

    def _ours(self, lease: Object) -> bool:
        return _who(lease) == holder_of(self.run)

    def _note(self, place: Place, asked: float) -> None:
        """Count from before the request: by the server's clock it was renewed no earlier."""
        with self._mutex:
            self._until[place.key] = asked + timeouts().lease_expires
            self._publish()

    def _lose(self, why: str) -> None:
        with self._mutex:
            self._lost = why
            self._publish()

    def _publish(self) -> None:
        state = {"until": min(self._until.values(), default=0.0), "lost": self._lost}
        private_file.write(self.folder / _FILE, json.dumps(state))

    def _renew_until_stopped(self, place: Place) -> None:
        while not self._stop.wait(timeouts().lease_renewed):
            self.renew(place)

    def _give_back(self, place: Place) -> None:
        found = place.kube.get("Lease", NAME, place.namespace)
        if found is None or not self._ours(found):
            return
        try:
            place.kube.delete("Lease", NAME, place.namespace, only=found)
        except Refused as refused:
            # Whoever wrote it since has taken it over.
            if refused.status != _CONFLICT:
                raise


def _ordered(places: Sequence[Place]) -> list[Place]:
    return sorted(places, key=lambda place: place.key)


def _who(lease: Object) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _free(lease: Object, now: datetime) -> bool:
    """Whether nobody holds a Lease, or its holder has not renewed it in time."""
    spec = lease.get("spec") or {}
    if not _who(lease) or not spec.get("renewTime"):
        return True
    renewed = datetime.fromisoformat(spec["renewTime"])
    return now > renewed + timedelta(seconds=int(spec.get("leaseDurationSeconds") or 0))


def _held(place: Place, lease: Object) -> UsageProblem:
    spec = lease["spec"]
    return UsageProblem(
        f"{place.context}: {_who(lease)} changes this mesh now, by the Lease {place.namespace}/{NAME}, renewed at "
        f"{spec['renewTime']}: wait for its end; a Lease expires {spec['leaseDurationSeconds']} s after its last "
        "renewal. Nothing was created."
    )


def _micro(moment: datetime) -> str:
    return moment.strftime(_TIME)
