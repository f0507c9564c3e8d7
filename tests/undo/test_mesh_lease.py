"""Two runs never change one mesh at once; whose Lease it is, the API server's clock decides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.undo import mesh_lease
from splithorizon.undo.mesh_lease import MeshLease, require_held
from tests.support.existing_mesh import SYSTEM, Run, TwoClusters, two_clusters
from tests.support.small_api import Failure

THEN = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/splithorizon"


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with two_clusters(tmp_path) as clusters:
        (tmp_path / "runs").mkdir()
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


def test_a_lease_names_its_run_and_the_servers_time_in_each_cluster(mesh: TwoClusters) -> None:
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


def test_a_second_run_is_refused_with_the_holders_name_until_the_first_ends(mesh: TwoClusters) -> None:
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


def test_a_run_that_gets_only_one_of_two_leases_gives_that_one_back(mesh: TwoClusters) -> None:
    first, second = new_run(mesh, "first"), new_run(mesh, "second", lease=False)
    del mesh.primary.objects[LEASE]
    with pytest.raises(UsageProblem, match="west: splithorizon run first"):
        second.lease.acquire()
    assert mesh.primary.kept("Lease") == []
    assert first.lease.places


@pytest.mark.parametrize("turned", [False, True])
def test_leases_are_taken_in_the_order_of_the_clusters_uids(mesh: TwoClusters, turned: bool) -> None:
    """Whatever order the contexts have: otherwise two runs could each have the Lease that the other wants."""
    first, second = new_run(mesh, "first"), new_run(mesh, "second", lease=False)
    del mesh.primary.objects[LEASE]
    places = second.lease.places[::-1] if turned else second.lease.places
    made = len(mesh.primary.requests("POST", "leases"))
    with pytest.raises(UsageProblem, match="west: splithorizon run first"):
        MeshLease(places, "second", second.folder).acquire()
    assert len(mesh.primary.requests("POST", "leases")) == made + 1, "the primary's uid comes first"
    assert first.lease.places


def test_an_expired_lease_is_taken_over_and_its_run_begins_no_change_any_more(mesh: TwoClusters) -> None:
    first, second = new_run(mesh, "first"), new_run(mesh, "second", lease=False)
    after(mesh, 61)
    second.lease.acquire()
    assert holders(mesh) == {mesh_lease.holder_of("second")}
    first.lease.renew(first.lease.places[0])
    with pytest.raises(EnvironmentBroke, match=r"splithorizon run second on .* holds it in east"):
        require_held(first.folder)
    first.lease.release()
    assert holders(mesh) == {mesh_lease.holder_of("second")}, "whose it is no longer, deletes nothing"


def test_a_renewed_lease_does_not_expire(mesh: TwoClusters) -> None:
    first, second = new_run(mesh, "first"), new_run(mesh, "second", lease=False)
    after(mesh, 45)
    for place in first.lease.places:
        first.lease.renew(place)
    after(mesh, 100)
    with pytest.raises(UsageProblem, match="07:08:54"):
        second.lease.acquire()


def test_a_lease_that_cannot_be_renewed_counts_for_sixty_seconds(mesh: TwoClusters) -> None:
    clock = [1000.0]
    run = new_run(mesh, "first", lease=False)
    lease = MeshLease(run.lease.places, "first", run.folder, clock=lambda: clock[0])
    lease.acquire()
    mesh.primary.failures.append(Failure(2, "GET", "splithorizon", "lost"))
    for passed in (59.0, 61.0):
        clock[0] = 1000 + passed
        for place in lease.places:
            lease.renew(place)
        if passed < 60:
            require_held(run.folder, lambda: clock[0])
        else:
            with pytest.raises(EnvironmentBroke, match="has expired"):
                require_held(run.folder, lambda: clock[0])
    lease.renew(lease.places[0])
    require_held(run.folder, lambda: clock[0])


def test_a_lease_that_somebody_deleted_is_made_again(mesh: TwoClusters) -> None:
    run = new_run(mesh, "first")
    del mesh.primary.objects[LEASE]
    run.lease.renew(run.lease.places[0])
    assert holders(mesh) == {mesh_lease.holder_of("first")}
    assert len(mesh.primary.kept("Lease")) == 1


def test_who_may_not_write_leases_is_refused_and_who_may_not_read_them_is_told(mesh: TwoClusters) -> None:
    run = new_run(mesh, "first", lease=False)
    mesh.primary.failures.append(Failure(1, "POST", "leases", 403))
    with pytest.raises(UsageProblem, match="this user may not"):
        run.lease.acquire()
    said: list[str] = []
    mesh.primary.failures.append(Failure(1, "GET", "splithorizon", 403))
    mesh_lease.require_free(run.lease.places, said.append)
    assert said[0].startswith(f"east: this user may not read Leases in {SYSTEM}")


def test_two_runs_in_the_same_moment_do_not_both_get_it(mesh: TwoClusters) -> None:
    new_run(mesh, "first")
    after(mesh, 61)
    second = new_run(mesh, "second", lease=False)
    mesh.primary.failures.append(Failure(1, "PATCH", "splithorizon", 409))
    with pytest.raises(UsageProblem, match="in this moment"):
        second.lease.acquire()
    mesh.primary.failures.append(Failure(1, "POST", "leases", 409))
    del mesh.primary.objects[LEASE]
    with pytest.raises(UsageProblem, match="in this moment"):
        second.lease.acquire()


def test_a_thread_renews_until_the_end(mesh: TwoClusters, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from splithorizon.base.timeouts import Timeouts
    from splithorizon.base.waiting import NotYet, eventually

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
