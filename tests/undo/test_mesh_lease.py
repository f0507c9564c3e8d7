"""Only one run at a time changes a mesh; expiry is computed with the clock of the API server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.base.timeouts import Timeouts, shortened
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.undo import mesh_lease
from splithorizon.undo.mesh_lease import MeshLease, require_held
from tests.support.existing_mesh import SYSTEM, Run, TwoClusters, two_clusters
from tests.support.small_api import Failure

THEN = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/splithorizon"


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with two_clusters(tmp_path) as clusters:
        at(clusters, THEN)
        yield clusters


def at(mesh: TwoClusters, moment: datetime) -> None:
    """Set the API servers' clocks."""
    for api in mesh.apis.values():
        api.now = moment.timestamp()


def after(mesh: TwoClusters, seconds: float) -> None:
    at(mesh, THEN + timedelta(seconds=seconds))


def new_run(mesh: TwoClusters, name: str, *, lease: bool = True) -> Run:
    return mesh.run(mesh.home / "runs", name, lease=lease)


def holders(mesh: TwoClusters) -> set[str]:
    return {str(lease["spec"]["holderIdentity"]) for api in mesh.apis.values() for lease in api.kept("Lease")}


def test_a_lease_has_its_run_and_the_servers_time_in_each_cluster(mesh: TwoClusters) -> None:
    run = new_run(mesh, "first")
    for api in mesh.apis.values():
        spec = api.objects[LEASE]["spec"]
        assert spec["holderIdentity"].startswith("splithorizon run first on ")
        assert (spec["leaseDurationSeconds"], spec["renewTime"]) == (60, "2031-05-06T07:08:09.000000Z")
    require_held(run.folder)
    run.lease.release()
    assert holders(mesh) == set()
    with pytest.raises(EnvironmentBroke, match="does not hold"):
        require_held(run.folder)


def test_a_second_run_is_refused_with_the_holders_name_until_the_first_has_ended(mesh: TwoClusters) -> None:
    first, second = new_run(mesh, "first"), new_run(mesh, "second", lease=False)
    said: list[str] = []
    after(mesh, 60)
    with pytest.raises(UsageProblem, match=r"east: splithorizon run first on .*Nothing was created\.$"):
        second.lease.acquire()
    with pytest.raises(UsageProblem, match="splithorizon run first on "):
        mesh_lease.require_free(second.lease.places, said.append)
    first.lease.release()
    mesh_lease.require_free(second.lease.places, said.append)
    second.lease.acquire()
    assert holders(mesh) == {mesh_lease.holder_of("second")}
    assert said == []


def test_a_run_that_acquires_only_one_of_two_leases_releases_it(mesh: TwoClusters) -> None:
    first, second = new_run(mesh, "first"), new_run(mesh, "second", lease=False)
    del mesh.primary.objects[LEASE]
    with pytest.raises(UsageProblem, match="west: splithorizon run first"):
        second.lease.acquire()
    assert mesh.primary.kept("Lease") == []
    assert first.lease.places


@pytest.mark.parametrize("swapped", [False, True])
def test_leases_are_acquired_in_the_order_of_the_clusters_uids(mesh: TwoClusters, swapped: bool) -> None:
    """In any order of the contexts; otherwise each of two runs could hold the Lease that the other one needs."""
    first, second = new_run(mesh, "first"), new_run(mesh, "second", lease=False)
    del mesh.primary.objects[LEASE]
    places = second.lease.places[::-1] if swapped else second.lease.places
    before = len(mesh.primary.requests("POST", "leases"))
    with pytest.raises(UsageProblem, match="west: splithorizon run first"):
        MeshLease(places, "second", second.folder).acquire()
    assert len(mesh.primary.requests("POST", "leases")) == before + 1, "the primary's uid is the lower one"
    assert first.lease.places


def test_an_expired_lease_is_acquired_by_another_run_and_its_old_holder_changes_nothing(mesh: TwoClusters) -> None:
    first, second = new_run(mesh, "first"), new_run(mesh, "second", lease=False)
    after(mesh, 61)
    second.lease.acquire()
    assert holders(mesh) == {mesh_lease.holder_of("second")}
    first.lease.renew(first.lease.places[0])
    with pytest.raises(EnvironmentBroke, match=r"splithorizon run second on .* holds it in east"):
        require_held(first.folder)
    first.lease.release()
    assert holders(mesh) == {mesh_lease.holder_of("second")}, "a run does not delete the Lease of another one"


def test_a_renewed_lease_does_not_expire(mesh: TwoClusters) -> None:
    first, second = new_run(mesh, "first"), new_run(mesh, "second", lease=False)
    after(mesh, 45)
    for place in first.lease.places:
        first.lease.renew(place)
    after(mesh, 100)
    with pytest.raises(UsageProblem, match="07:08:54"):
        second.lease.acquire()


def test_a_lease_that_cannot_be_renewed_is_held_for_sixty_seconds(mesh: TwoClusters) -> None:
    clock = [1000.0]
    run = new_run(mesh, "first", lease=False)
    lease = MeshLease(run.lease.places, "first", run.folder, clock=lambda: clock[0])
    lease.acquire()
    mesh.primary.failures.append(Failure(99, "GET", "splithorizon", "lost"))
    for passed in (59.0, 61.0):
        clock[0] = 1000 + passed
        with shortened(0.02):
            for place in lease.places:
                lease.renew(place)
        if passed < 60:
            require_held(run.folder, lambda: clock[0])
        else:
            with pytest.raises(EnvironmentBroke, match="has expired"):
                require_held(run.folder, lambda: clock[0])
    mesh.primary.failures.clear()
    lease.renew(lease.places[0])
    require_held(run.folder, lambda: clock[0])


def test_a_lease_that_somebody_deleted_is_created_again(mesh: TwoClusters) -> None:
    run = new_run(mesh, "first")
    del mesh.primary.objects[LEASE]
    run.lease.renew(run.lease.places[0])
    assert holders(mesh) == {mesh_lease.holder_of("first")}
    assert len(mesh.primary.kept("Lease")) == 1


def test_a_user_without_write_access_to_leases_is_refused_and_without_read_access_is_warned(mesh: TwoClusters) -> None:
    run = new_run(mesh, "first", lease=False)
    mesh.primary.failures.append(Failure(1, "POST", "leases", 403))
    with pytest.raises(UsageProblem, match="this user may not"):
        run.lease.acquire()
    said: list[str] = []
    mesh.primary.failures.append(Failure(1, "GET", "splithorizon", 403))
    mesh_lease.require_free(run.lease.places, said.append)
    assert said[0].startswith(f"east: this user may not read Leases in {SYSTEM}")


def test_two_runs_at_the_same_time_do_not_both_acquire_a_lease(mesh: TwoClusters) -> None:
    new_run(mesh, "first")
    after(mesh, 61)
    second = new_run(mesh, "second", lease=False)
    mesh.primary.failures.append(Failure(1, "PATCH", "splithorizon", 409))
    with pytest.raises(UsageProblem, match="at the same time"):
        second.lease.acquire()
    mesh.primary.failures.append(Failure(1, "POST", "leases", 409))
    del mesh.primary.objects[LEASE]
    with pytest.raises(UsageProblem, match="at the same time"):
        second.lease.acquire()


def test_a_thread_renews_until_the_release(mesh: TwoClusters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_lease, "timeouts", lambda: replace(Timeouts(), lease_renewed=0.01))
    run = new_run(mesh, "first")
    run.lease.keep()
    after(mesh, 30)

    def renewed() -> None:
        if {api.objects[LEASE]["spec"]["renewTime"][14:19] for api in mesh.apis.values()} != {"08:39"}:
            raise NotYet

    eventually("both are renewed", renewed, within=30)
    run.lease.release()
    assert holders(mesh) == set()
