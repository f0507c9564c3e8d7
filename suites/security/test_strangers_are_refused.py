"""A gateway lets no client through without a certificate, or with one of an unknown root.

Given  the gateway of one network, which serves helloworld's chain to who asks for it by name
When   a client asks without a certificate, and another with one that calls itself the mesh's client, of a foreign root
Then   neither gets a byte of an answer: in TLS 1.3 the refusal is an alert after the handshake
Why    https://istio.io/latest/docs/concepts/security/#mutual-tls-authentication: the gateway passes TLS on unread
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Cluster, MeshSecurity, RecordEvidence
from splithorizon import checks


@behaviour(profile="security", breaks_when=("no-certificate-demanded", "any-root-taken"))
def test_strangers_are_refused(
    security: MeshSecurity, gateway_cluster: Cluster, record_evidence: RecordEvidence
) -> None:
    name = gateway_cluster.name
    port = security.gateway_port(name)
    bare, foreign = port.probe(), port.probe(security.impostor(name))
    record_evidence(checks.strangers_refused(bare=bare, foreign=foreign, cluster=name))
