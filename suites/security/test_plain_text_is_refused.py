"""helloworld refuses plain text from a client outside the mesh in the same cluster.

Given  a mesh that is STRICT as a whole, and a client without a sidecar, which reaches the pod: its agent answers
When   it asks helloworld at the pod's own address
Then   the connection is closed at once, without an answer
Why    https://istio.io/latest/docs/concepts/security/#peer-authentication
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import PlainTextAttempts, RecordEvidence
from splithorizon import checks


@behaviour(profile="security", breaks_when="plain-text-admitted")
def test_plain_text_is_refused(
    plain_text_attempts: PlainTextAttempts, cluster_name: str, record_evidence: RecordEvidence
) -> None:
    control, asked = plain_text_attempts.control, plain_text_attempts.asked
    record_evidence(checks.plain_text_refused(cluster_name, control=control, asked=asked))
