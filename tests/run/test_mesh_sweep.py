"""``--sweep --contexts``: what a lost runner left in a mesh is undone from any machine, by real command lines."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.sweep import sweep
from splithorizon.run.journal import Journal
from splithorizon.undo import mutations, ownership
from splithorizon.undo.ownership import Scope
from tests.support import user_rights
from tests.support.child_pytest import REPOSITORY, pytest_in
from tests.support.existing_mesh import NAMESPACE, SYSTEM, Run, TwoClusters, expire, lose_disk, two_clusters
from tests.support.small_api import Failure

GAVE_BACK = f"gave back Secret {SYSTEM}/istio-remote of the primary"


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with two_clusters(tmp_path) as clusters:
        yield clusters


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def runs(home: Path) -> Path:
    folder = home / ".local" / "state" / "splithorizon" / "runs"
    for parent in (folder.parent, folder):
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def killed(mesh: TwoClusters, home: Path, name: str = "run") -> Run:
    """A run that took the secret away and a replica too, and was killed; its Lease has expired since."""
    run = mesh.run(runs(home), name)
    mutations.delete(run.primary, "Secret", "istio-remote", SYSTEM, run.undo)
    mutations.patch(run.primary, "Deployment", "istiod", SYSTEM, {"spec": {"replicas": 0}}, run.undo)
    run.undo.pop_all()
    die(run.folder)
    expire(mesh)
    return run


def die(folder: Path) -> None:
    """As after a reboot: this process would count as the run."""
    record = folder / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": 1.0, "started": 2.0}))


def command(mesh: TwoClusters) -> list[str]:
    files = [f"--kubeconfig-{role}={mesh.file(role)}" for role in mesh.apis]
    return ["--sweep", "--contexts", "east,west", *files]


def swept(mesh: TwoClusters, home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return pytest_in(REPOSITORY, *command(mesh), *more, home=home)


def replicas(mesh: TwoClusters) -> int:
    return int(mesh.primary.kept("Deployment")[0]["spec"]["replicas"])


def writes(mesh: TwoClusters) -> list[tuple[str, str]]:
    return [(method, path) for api in mesh.apis.values() for method, path, *_ in api.asked if method != "GET"]


def test_a_runner_that_is_gone_with_its_disk_is_made_good_from_another_machine(mesh: TwoClusters, home: Path) -> None:
    lose_disk(killed(mesh, home))
    done = swept(mesh, home)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines.index(f"gave back Deployment {SYSTEM}/istiod of the primary") < lines.index(GAVE_BACK), "newest first"
    assert any(re.fullmatch(r"context east leads to http://127\.0\.0\.1:\d+", line) for line in lines)
    assert (mesh.token, replicas(mesh)) == ("dG9rZW4=", 1)
    assert mesh.backups() == []
    assert [api.kept("Lease") for api in mesh.apis.values()] == [[], []]
    assert list(runs(home).iterdir()) == []


def test_on_the_same_machine_nothing_is_undone_twice_and_the_run_is_forgotten(mesh: TwoClusters, home: Path) -> None:
    run = killed(mesh, home)
    done = swept(mesh, home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(GAVE_BACK) == 1
    assert f"removed run folder {run.folder}" in done.stdout
    assert (mesh.token, replicas(mesh)) == ("dG9rZW4=", 1)
    assert not run.folder.exists()


def test_a_secret_that_somebody_made_between_kill_and_sweep_stays(mesh: TwoClusters, home: Path) -> None:
    killed(mesh, home)
    mesh.secret("bmV3")
    done = swept(mesh, home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"left alone: Secret {SYSTEM}/istio-remote of the primary: somebody recreated it" in done.stdout
    assert "dG9rZW4" not in done.stdout + done.stderr
    assert (mesh.token, replicas(mesh)) == ("bmV3", 1)
    assert mesh.backups() == []


def test_what_cannot_be_undone_stays_for_the_next_sweep(mesh: TwoClusters, home: Path) -> None:
    lose_disk(killed(mesh, home))
    mesh.primary.failures.append(Failure(1, "POST", "secrets", 403))
    done = swept(mesh, home)
    assert done.returncode == 10, done.stdout + done.stderr
    assert f"not given back: Secret {SYSTEM}/istio-remote of the primary" in done.stdout
    assert "INCONCLUSIVE: not everything is as it was before" in done.stderr
    assert len(mesh.backups()) == 1
    assert replicas(mesh) == 1
    assert swept(mesh, home).returncode == 0
    assert mesh.token == "dG9rZW4="


def test_a_sweep_is_refused_while_another_run_changes_the_mesh(mesh: TwoClusters, home: Path) -> None:
    killed(mesh, home)
    mesh.run(runs(home), "alive")
    before = len(writes(mesh))
    done = swept(mesh, home)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "ERROR: east: splithorizon run alive on " in done.stderr
    assert len(writes(mesh)) == before
    assert mesh.token is None


def test_a_plain_sweep_writes_nothing_to_the_mesh_and_prints_the_command_that_does(
    mesh: TwoClusters, home: Path
) -> None:
    run = killed(mesh, home)
    asked = sum(len(api.asked) for api in mesh.apis.values())
    done = pytest_in(REPOSITORY, "--sweep", home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(len(api.asked) for api in mesh.apis.values()) == asked
    assert f"run run left in an existing mesh: Deployment {SYSTEM}/istiod of the primary, changed" in done.stdout
    assert run.folder.exists()

    (line,) = [line for line in done.stdout.splitlines() if "restore it with: " in line]
    printed = shlex.split(line.partition("restore it with: ")[2])
    assert printed[0] == "pytest"
    again = pytest_in(REPOSITORY, *printed[1:], home=home)
    assert again.returncode == 0, again.stdout + again.stderr
    assert mesh.token == "dG9rZW4="


def test_files_that_are_half_written_stop_neither_sweep_and_stay(mesh: TwoClusters, home: Path) -> None:
    run = killed(mesh, home)
    (run.folder / "changes" / "00-half.json").write_text("")
    other = runs(home) / "other"
    other.mkdir(mode=0o700)
    (other / "run.json").write_text('{"run": "oth')
    scopeless = mesh.run(runs(home), "scopeless")
    die(scopeless.folder)
    expire(mesh)
    (scopeless.folder / "scope.json").write_text("{")
    plain = pytest_in(REPOSITORY, "--sweep", home=home)
    done = swept(mesh, home)
    for output in (plain.stdout, done.stdout):
        assert f"{other / 'run.json'} cannot be read" in output
    assert f"{scopeless.folder / 'scope.json'} cannot be read" in plain.stdout
    assert (plain.returncode, done.returncode) == (0, 0), plain.stderr + done.stderr
    assert f"{run.folder / 'changes' / '00-half.json'}" in done.stdout
    assert mesh.token == "dG9rZW4="
    assert all(folder.exists() for folder in (run.folder, other, scopeless.folder))


def test_an_entry_that_is_half_written_on_disk_is_undone_by_its_copy_in_the_cluster(
    mesh: TwoClusters, home: Path
) -> None:
    run = killed(mesh, home)
    for file in (run.folder / "changes").iterdir():
        file.write_text("")
    assert swept(mesh, home).returncode == 0
    assert mesh.token == "dG9rZW4="
    assert not run.folder.exists()


def namespace(mesh: TwoClusters, name: str, *, expires: timedelta | None) -> None:
    moment = None if expires is None else datetime.now(UTC) + expires
    for api in mesh.apis.values():
        api.put("Namespace", name, labels=ownership.labels(name, expires=moment))


def test_our_namespaces_go_once_they_expire_or_their_run_is_dead_and_others_are_listed(
    mesh: TwoClusters, home: Path
) -> None:
    run = killed(mesh, home)
    for role, kube in run.kubes.items():
        Journal.read(run.folder).will_create("namespace", NAMESPACE, cluster=role, kubeconfig=str(kube.kubeconfig))
        mesh.apis[role].put("Namespace", NAMESPACE, labels=ownership.labels("run"))
    namespace(mesh, "expired", expires=timedelta(hours=-1))
    namespace(mesh, "running", expires=timedelta(hours=1))
    namespace(mesh, "kept", expires=None)
    mesh.primary.put("Namespace", "theirs")
    done = swept(mesh, home)
    assert done.returncode == 0, done.stdout + done.stderr
    left = {one["metadata"]["name"] for one in mesh.primary.kept("Namespace")}
    assert left == {"kube-system", SYSTEM, "running", "kept", "theirs"}
    assert {one["metadata"]["name"] for one in mesh.apis["remote"].kept("Namespace")} == left - {"theirs"}
    for name in ("running", "kept"):
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"namespace {name} in east stays"))
        assert line.endswith(f"--context east delete namespace {name}")
    assert not run.folder.exists()


def test_expired_namespaces_go_alone_with_the_rights_of_a_run(mesh: TwoClusters, home: Path) -> None:
    run = killed(mesh, home)
    namespace(mesh, "expired", expires=timedelta(hours=-1))
    namespace(mesh, "running", expires=timedelta(hours=1))
    namespace(mesh, "kept", expires=None)
    mesh.primary.put("Namespace", "theirs")
    for api in mesh.apis.values():
        api.denies = user_rights.denies(system_namespace=SYSTEM)
        api.asked.clear()
    done = swept(mesh, home, "--expired")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removed namespace expired in west" in done.stdout
    left = {one["metadata"]["name"] for one in mesh.primary.kept("Namespace")}
    assert left == {"kube-system", SYSTEM, "running", "kept", "theirs"}
    assert {method for method, _ in writes(mesh)} == {"DELETE"}
    assert {path.rsplit("/", 2)[1] for _, path in writes(mesh)} == {"namespaces"}
    # What the dead run left stays for a whole sweep.
    assert run.folder.exists()
    assert mesh.token is None


def test_expired_is_for_a_sweep_of_a_mesh(home: Path) -> None:
    done = pytest_in(REPOSITORY, "--sweep", "--expired", home=home)
    assert done.returncode == 4
    assert "--expired is for a sweep of a mesh that is there: it needs --sweep and --contexts" in done.stderr


def killed_in_namespace(mesh: TwoClusters, home: Path, name: str, *, expires: datetime) -> Run:
    """A run in a namespace of somebody else that was killed, with what it created there and wrote down."""
    labels = ownership.labels(name, expires=expires)
    run = mesh.run(runs(home), name, lease=False, labels=labels)
    for role, kube in run.kubes.items():
        run.journal.will_create("objects", NAMESPACE, cluster=role, context=role, kubeconfig=str(kube.kubeconfig))
        mutations.apply(
            kube, [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}], NAMESPACE, run.undo
        )
    run.undo.pop_all()
    die(run.folder)
    return run


def services(mesh: TwoClusters) -> list[str]:
    return [one["metadata"]["name"] for api in mesh.apis.values() for one in api.kept("Service", NAMESPACE)]


def test_objects_in_a_namespace_of_others_go_with_the_rights_of_a_run_there(mesh: TwoClusters, home: Path) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    dead = killed_in_namespace(mesh, home, "dead", expires=later)
    expired = killed_in_namespace(mesh, home, "expired", expires=datetime(2026, 1, 1, tzinfo=UTC))
    lose_disk(expired)
    elsewhere = killed_in_namespace(mesh, home, "elsewhere", expires=later)
    lose_disk(elsewhere)
    for api in mesh.apis.values():
        api.put("Namespace", NAMESPACE)
        api.put("Service", "theirs", NAMESPACE)
        api.denies = user_rights.denies(system_namespace=SYSTEM, namespace=NAMESPACE)

    done = swept(mesh, home, "--expired", "--namespace", NAMESPACE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert services(mesh) == ["dead", "elsewhere", "theirs"] * 2
    assert dead.folder.exists()

    done = swept(mesh, home, "--namespace", NAMESPACE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert services(mesh) == ["elsewhere", "theirs"] * 2
    assert f"removed the objects of run dead in namespace {NAMESPACE} in east" in done.stdout
    assert f"objects of run elsewhere in namespace {NAMESPACE} in west stay: until " in done.stdout
    assert not dead.folder.exists()
    assert {path for method, path in writes(mesh) if method != "DELETE" and "/services" not in path} == set()


def test_a_sweep_of_the_mesh_finds_them_by_the_record_of_the_dead_run(mesh: TwoClusters, home: Path) -> None:
    dead = killed_in_namespace(mesh, home, "dead", expires=datetime.now(UTC) + timedelta(hours=1))
    for api in mesh.apis.values():
        api.put("Namespace", NAMESPACE)
        api.put("Service", "theirs", NAMESPACE)
    done = swept(mesh, home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert services(mesh) == ["theirs"] * 2
    assert not dead.folder.exists()


def test_a_dead_run_on_another_mesh_is_left_to_a_sweep_of_that_one(mesh: TwoClusters, home: Path) -> None:
    run = killed(mesh, home)
    scope = Scope.read(run.folder)
    assert scope is not None
    text = (run.folder / "scope.json").read_text()
    (run.folder / "scope.json").write_text(text.replace("uid-of-", "elsewhere-"))
    for secret in mesh.backups():
        del mesh.primary.objects[f"/api/v1/namespaces/{SYSTEM}/secrets/{secret['metadata']['name']}"]
    assert swept(mesh, home).returncode == 0
    assert mesh.token is None
    assert run.folder.exists()


def test_the_start_of_another_run_writes_nothing_to_the_mesh(mesh: TwoClusters, home: Path) -> None:
    run = killed(mesh, home)
    before = len(writes(mesh))
    said = list(sweep(runs(home), lambda entry: pytest.fail(f"{entry} was removed")))
    assert said[-1].startswith("restore it with: pytest --sweep --contexts east,west")
    assert len(writes(mesh)) == before
    assert run.folder.exists()
