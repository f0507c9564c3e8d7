"""An istiod that crashes again and again: what it logged last is cited, where it may be read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case
from splithorizon.diagnosis.reading.model import Object
from splithorizon.diagnosis.root_cause import diagnose
from tests.support.made_reading import also, change, edits, sound

EXPIRED = (
    "error failed to create discovery service: failed to create an istiod CA: failed to create CA KeyCertBundle "
    "(cannot verify the cert: x509: certificate has expired or is not yet valid)"
)
OTHER = "error failed to create discovery service: the mesh configuration has no such field"


def crashing(one: Object) -> None:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container=discovery"}
    status = {"name": "discovery", "ready": False, "restartCount": 3, "state": {"waiting": waiting}}
    one["status"].update(
        conditions=[{"type": "Ready", "status": "False", "message": "containers with unready status: [discovery]"}],
        containerStatuses=[status],
    )


@pytest.mark.parametrize(
    ("logged", "cause"),
    [(EXPIRED, causes.CA_NOT_VALID), (OTHER, causes.CONTAINER_CRASHES), ("", causes.CONTAINER_CRASHES)],
    ids=["a CA that has expired", "another error", "no log"],
)
def test_what_a_crashed_istiod_logged_last_is_cited(logged: str, cause: Cause) -> None:
    broken = also(
        edits("primary", "Pod", "istiod-1", crashing),
        change("primary", lambda one: replace(one, logged_before_crash={"istiod-1": logged})),
    )
    (found,) = diagnose(Case(broken(sound()))).root_causes
    assert found.id == cause.id
    cited = {fact.field: fact.value for fact in found.finding.evidence}
    assert cited["status.containerStatuses discovery.state.waiting"].startswith("CrashLoopBackOff")
    assert cited.get("log of the container before, its last error", "") == logged
