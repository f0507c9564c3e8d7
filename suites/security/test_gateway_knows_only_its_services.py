"""A gateway passes on what comes under a service's name, and closes on any other name and on plain text.

Given  the gateway of one network, which serves helloworld's chain to who asks for it by name
When   a client asks for a service that there is not, and another sends an HTTP request without TLS
Then   neither is served a certificate or a byte of an answer
Why    https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings-TLSmode: AUTO_PASSTHROUGH
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import GatewayPort, RecordEvidence, Role
from splithorizon import checks


@behaviour(profile="security", breaks_when="any-name-passed")
def test_gateway_knows_only_its_services(doorway: GatewayPort, role: Role, record_evidence: RecordEvidence) -> None:
    known, unknown, plain = doorway.probe(), doorway.probe_unknown_service(), doorway.ask_in_plain_text()
    record_evidence(checks.gateway_knows_only_services(known=known, unknown=unknown, plain=plain, role=role))
