"""A Lease in the system namespace of each cluster of a mesh, so that only one run at a time changes the mesh.

Expiry is computed with the clock of the API server, so that a wrong clock of the client does no harm.
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
_STATE = "lease.json"
_NO_CHANGES = "ending"
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_CONFLICT = 409


@dataclass(frozen=True)
class Place:
    """Where a Lease is stored: a cluster, which ``uid`` identifies, and a namespace. ``context`` is for messages."""

    kube: Kube
    namespace: str
    uid: str
    context: str

    @property
    def key(self) -> tuple[str, str]:
        """The Leases are acquired in this order."""
        return self.uid, self.namespace


def holder_of(run: str) -> str:
    """The holder identity of a run in its Leases."""
    return f"splithorizon run {run} on {socket.gethostname()}"


def uptime() -> float:
    """Seconds since boot, equal in all processes; suspended time is included if the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def require_free(places: Sequence[Place], say: Callable[[str], None]) -> None:
    """Raise UsageProblem if another run changes this mesh now; for a run that does not change it.

    If this user may not read the Lease, ``say`` gets that as a message, and the run goes on.
    """
    for place in _ordered(places):
        try:
            lease, now = place.kube.get_dated("Lease", NAME, place.namespace)
        except Refused as refused:
            if refused.status != 403:
                raise
            say(f"{place.context}: this user may not read Leases in {place.namespace}:")
            say(f"{place.context}: another run that changes the mesh at the same time is not detected")
            continue
        if lease and not _free(lease, now):
            raise _held_by_another(place, lease)


def require_held(folder: Path, clock: Callable[[], float] = uptime) -> None:
    """Raise EnvironmentBroke unless this run holds the Lease and may start a change of the mesh.

    ``folder`` is the folder of the run, which its xdist workers share.
    """
    if (folder / _NO_CHANGES).exists():
        raise EnvironmentBroke("the run is ending: no further change of the mesh is made")
    try:
        state = json.loads((folder / _STATE).read_text())
    except FileNotFoundError:
        raise EnvironmentBroke("this run does not hold the mesh's Lease: it must not change the mesh") from None
    if state["lost"]:
        raise EnvironmentBroke("this run has lost the mesh's Lease: no further change is made", seen=state["lost"])
    if clock() >= state["until"]:
        raise EnvironmentBroke(
            "the run's Lease of the mesh has expired: no further change is made",
            seen=f"not renewed for {timeouts().lease_expires:g} s",
        )


def forbid_changes(folder: Path) -> None:
    """Make ``require_held`` fail in every process from now on, before the run undoes its last changes."""
    private_file.write(folder / _NO_CHANGES, "")


@dataclass
class MeshLease:
    """The Leases of a run, renewed by threads until ``release``.

    A file in ``folder``, the folder of the run, has their state for ``require_held`` in other processes.
    """

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
        """Acquire the Lease of each cluster, in the order of the uids, so that two runs never block each other.

        Raises UsageProblem, which names the holder, if another run holds a Lease, or if this user may not write Leases.
        """
        try:
            for place in _ordered(self.places):
                self._acquire(place)
        except BaseException:
            self.release()
            raise

    def keep(self) -> None:
        """Renew each Lease in a separate thread, so that an unreachable cluster does not delay the others."""
        for place in self.places:
            thread = threading.Thread(target=self._renew_until_stopped, args=(place,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def renew(self, place: Place) -> None:
        """Renew one Lease now.

        A failed renewal is ignored, because the next one follows before the Lease expires. Another holder is recorded.
        """
        requested = self.clock()
        try:
            lease, now = place.kube.get_dated("Lease", NAME, place.namespace)
            if lease is None:
                place.kube.create(self._lease(now), namespace=place.namespace)
            elif not self._ours(lease):
                self._record_loss(f"{_holder(lease)} holds it in {place.context}")
                return
            else:
                self._patch(place, lease, {"renewTime": _micro(now)})
        except EnvironmentBroke:
            # The next attempt reads the holder again; ``require_held`` compares the time of the last renewal.
            return
        self._record_renewal(place, requested)

    def release(self) -> None:
        """Delete the Leases that this run still holds. Raises EnvironmentBroke if a request fails."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        problem: EnvironmentBroke | None = None
        for place in self.places:
            if place.key not in self._until:
                continue
            try:
                self._release(place)
            except EnvironmentBroke as error:
                problem = problem or error
            else:
                del self._until[place.key]
        with suppress(FileNotFoundError):
            (self.folder / _STATE).unlink()
        if problem is not None:
            raise problem

    def _acquire(self, place: Place) -> None:
        requested = self.clock()
        try:
            lease, now = place.kube.get_dated("Lease", NAME, place.namespace)
            if lease is None:
                place.kube.create(self._lease(now), namespace=place.namespace)
            elif self._ours(lease) or _free(lease, now):
                spec = self._lease(now)["spec"]
                transitions = int((lease.get("spec") or {}).get("leaseTransitions") or 0) + 1
                self._patch(place, lease, {**spec, "leaseTransitions": transitions})
            else:
                raise _held_by_another(place, lease)
        except Refused as refused:
            if refused.status == 403:
                raise UsageProblem(
                    f"{place.context}: a run that changes the mesh takes a Lease in {place.namespace}, and this user "
                    f"may not: {refused.message}. Nothing was created."
                ) from None
            if refused.status == _CONFLICT:
                raise UsageProblem(
                    f"{place.context}: another run acquired the mesh's Lease at the same time. Nothing was created."
                ) from None
            raise
        self._record_renewal(place, requested)

    def _patch(self, place: Place, lease: Object, spec: Object) -> None:
        version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
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
        return _holder(lease) == holder_of(self.run)

    def _record_renewal(self, place: Place, requested: float) -> None:
        """Count from the time before the request: the server renewed the Lease later than that."""
        with self._mutex:
            self._until[place.key] = requested + timeouts().lease_expires
            self._write_state()

    def _record_loss(self, why: str) -> None:
        with self._mutex:
            self._lost = why
            self._write_state()

    def _write_state(self) -> None:
        state = {"until": min(self._until.values(), default=0.0), "lost": self._lost}
        private_file.write(self.folder / _STATE, json.dumps(state))

    def _renew_until_stopped(self, place: Place) -> None:
        while not self._stop.wait(timeouts().lease_renewed):
            self.renew(place)

    def _release(self, place: Place) -> None:
        lease = place.kube.get("Lease", NAME, place.namespace)
        if lease is None or not self._ours(lease):
            return
        try:
            place.kube.delete("Lease", NAME, place.namespace, only=lease)
        except Refused as refused:
            # Another run has acquired the Lease since it was read.
            if refused.status != _CONFLICT:
                raise


def _ordered(places: Sequence[Place]) -> list[Place]:
    return sorted(places, key=lambda place: place.key)


def _holder(lease: Object) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _free(lease: Object, now: datetime) -> bool:
    """Whether a Lease has no holder or has expired."""
    spec = lease.get("spec") or {}
    if not _holder(lease) or not spec.get("renewTime"):
        return True
    renewed = datetime.fromisoformat(spec["renewTime"])
    return now > renewed + timedelta(seconds=int(spec.get("leaseDurationSeconds") or 0))


def _held_by_another(place: Place, lease: Object) -> UsageProblem:
    spec = lease["spec"]
    return UsageProblem(
        f"{place.context}: {_holder(lease)} changes this mesh now and holds the Lease {place.namespace}/{NAME}, "
        f"renewed at {spec['renewTime']}: wait until that run has ended; the Lease expires "
        f"{spec['leaseDurationSeconds']} s after its last renewal. Nothing was created."
    )


def _micro(moment: datetime) -> str:
    return moment.strftime(_TIME)
