"""What is said of a cluster that Istio has left."""

from __future__ import annotations

import pytest

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks import CheckFailed
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.mesh.snapshot import Remains


def remains(*differences: str, objects: int = 200, going: tuple[str, ...] = (), stuck: tuple[str, ...] = ()) -> Remains:
    return Remains("remote", objects, differences, going, stuck, within=60)


def test_a_cluster_that_holds_what_it_held_is_as_before() -> None:
    evidence = checks.as_before_installation(remains())
    assert evidence.key_number == "200 objects as before"
    assert evidence.numbers == {"objects": 200, "differences": 0}


@pytest.mark.parametrize(
    ("found", "open_causes", "command"),
    [
        (
            remains("left: ConfigMap default/istio-ca-root-cert", "left: ClusterRole istiod"),
            (causes.INSTALLED_BY_OTHER_MEANS, causes.ISTIOD_ELSEWHERE),
            "kubectl <remote> -n default get ConfigMap istio-ca-root-cert -o yaml",
        ),
        (
            remains("left: Namespace istio-system", stuck=("namespace istio-system: finalizers remain",)),
            (causes.FINALIZER_WITHOUT_CONTROLLER,),
            "kubectl <remote> get Namespace istio-system -o yaml",
        ),
        (
            remains("left: Namespace istio-system", going=("istio-system",)),
            (causes.NAMESPACE_NOT_EMPTIED,),
            "kubectl <remote> get Namespace istio-system -o yaml",
        ),
        (
            remains("changed: Namespace default"),
            (causes.CHANGED_BY_INSTALLATION,),
            "kubectl <remote> get Namespace default -o yaml",
        ),
    ],
    ids=["left", "stuck", "on its way", "changed"],
)
def test_what_differs_is_named_with_its_causes(found: Remains, open_causes: tuple[Cause, ...], command: str) -> None:
    with pytest.raises(CheckFailed) as refuted:
        checks.as_before_installation(found)
    assert refuted.value.causes == open_causes
    assert all(one in refuted.value.seen for one in found.stuck)
    assert refuted.value.next_command == command
    assert found.differences[0] in refuted.value.seen


def test_of_many_differences_the_first_are_shown_and_all_are_counted() -> None:
    with pytest.raises(CheckFailed, match="and 12 more") as refuted:
        checks.as_before_installation(remains(*(f"left: ConfigMap a/{number:02}" for number in range(20))))
    numbers = dict(refuted.value.numbers)
    assert numbers.pop("left_in") == "remote"
    assert numbers.pop("left") == "; ".join(f"ConfigMap a/{number:02}" for number in range(8))
    assert numbers == {"objects": 200, "differences": 20}


def test_without_a_look_before_nothing_is_said() -> None:
    with pytest.raises(EnvironmentBroke, match="0 objects"):
        checks.as_before_installation(remains(objects=0))


def test_every_cluster_has_to_be_as_before() -> None:
    found = checks.every_cluster_as_before([remains(), remains(objects=100)])
    assert found.key_number == "300 objects as before"
    with pytest.raises(CheckFailed, match="left: ConfigMap a/b"):
        checks.every_cluster_as_before([remains(), remains("left: ConfigMap a/b")])
    with pytest.raises(EnvironmentBroke, match="0 clusters"):
        checks.every_cluster_as_before([])
