"""What each gateway serves for helloworld is helloworld's own certificate, of the root that every cluster trusts.

Given  the gateway of one network, asked for helloworld by its name (SNI) as sidecars do
When   the chain that is served is read, whether or not the server then takes us
Then   its first certificate has helloworld's SPIFFE identity and an hour left at least, and it leads to what
       istio-ca-root-cert holds in every cluster: a client of any would trust it
Why    https://istio.io/latest/docs/setup/install/multicluster/before-you-begin/#configure-trust
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Cluster, MeshSecurity, RecordEvidence
from splithorizon import checks


@behaviour(profile="security", breaks_when=("root-replaced", "no-mutual-tls"))
def test_one_root_is_served_by_both_gateways(
    security: MeshSecurity, gateway_cluster: Cluster, record_evidence: RecordEvidence
) -> None:
    name = gateway_cluster.name
    served, identity = security.gateway_port(name).probe(), security.helloworld_identity(name)
    record_evidence(checks.chain_leads_to_root(served, name, roots=security.roots, identity=identity))
