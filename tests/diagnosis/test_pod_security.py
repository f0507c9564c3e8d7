"""A pod that Pod Security does not admit: the label of its namespace is cited, where there is one."""

from __future__ import annotations

import pytest

from splithorizon.diagnosis import root_causes
from splithorizon.diagnosis.finding import Case
from splithorizon.diagnosis.root_cause import diagnose
from tests.support.made_reading import adds, also, edits, made, sound

LABEL = "pod-security.kubernetes.io/enforce"
REFUSED = 'pods "helloworld-v2-x" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities'


@pytest.mark.parametrize("labels", [{LABEL: "restricted"}, {}], ids=["the namespace's level", "the server's default"])
def test_the_level_that_refuses_a_pod_is_cited_where_the_namespace_asks_for_it(labels: dict[str, str]) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": REFUSED}
    status = {"conditions": [failure], "availableReplicas": 0}
    refused = also(
        adds("remote", made("Deployment", "helloworld-v2", "sample", spec={"replicas": 1}, status=status)),
        edits("remote", "Namespace", "sample", lambda one: one["metadata"].setdefault("labels", {}).update(labels)),
    )
    (found,) = diagnose(Case(refused(sound()))).root_causes
    assert found.id == root_causes.PODS_NOT_CREATED.id
    cited = {fact.object: (fact.field, fact.value) for fact in found.finding.evidence}
    assert cited["Deployment remote/sample/helloworld-v2"] == ("status.conditions ReplicaFailure", REFUSED)
    named = {"Namespace remote/sample": (f"metadata.labels {LABEL}", "restricted")} if labels else {}
    assert {name: fact for name, fact in cited.items() if name.startswith("Namespace")} == named
