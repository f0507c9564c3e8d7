"""A gateway passes on what comes under a service's name, and closes on any other name and on plain text.

Given  the gateway of one network, which serves helloworld's chain to who asks for it by name
When   a client asks for a service that there is not, and another sends an HTTP request without TLS
Then   neither is served a certificate or a byte of an answer
Why    https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings-TLSmode: AUTO_PASSTHROUGH
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import GatewayPort, RecordEvidence
from splithorizon import checks


@behaviour(profile="security", breaks_when="any-name-passed")
def test_gateway_knows_only_its_services(
    gateway_port: GatewayPort, cluster_name: str, record_evidence: RecordEvidence
) -> None:
    known, unknown, plain = gateway_port.probe(), gateway_port.probe_unknown_service(), gateway_port.ask_in_plain_text()
    record_evidence(checks.gateway_knows_only_services(known=known, unknown=unknown, plain=plain, cluster=cluster_name))
