"""helloworld refuses plain text from a client outside the mesh in the same cluster.

Given  a mesh that is STRICT as a whole, and a client without a sidecar, which reaches the pod: its agent answers
When   it asks helloworld at the pod's own address
Then   the connection is closed at once, without an answer
Why    https://istio.io/latest/docs/concepts/security/#peer-authentication
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Client, Cluster, RecordEvidence
from splithorizon import checks


@behaviour(profile="security", breaks_when="plain-text-admitted")
def test_plain_text_is_refused(cluster: Cluster, plain_text_client: Client, record_evidence: RecordEvidence) -> None:
    pod = cluster.helloworld_pod
    control, asked = plain_text_client.dial_pod(pod), plain_text_client.ask_pod(pod)
    record_evidence(checks.plain_text_refused(cluster.name, control=control, asked=asked))
