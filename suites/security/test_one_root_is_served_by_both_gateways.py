"""What either gateway serves for helloworld is helloworld's own certificate, of the root that both clusters trust.

Given  the gateway of one network, asked for helloworld by its name (SNI) as side-cars do
When   the chain that is served is read, whether or not the server then takes us
Then   its first certificate has helloworld's SPIFFE identity and an hour left at least, and it leads to what
       istio-ca-root-cert holds in both clusters: a client of either would trust it
Why    https://istio.io/latest/docs/setup/install/multicluster/before-you-begin/#configure-trust
Breaks when  the root that one cluster is told to trust is another one
Profile  security
"""

from __future__ import annotations

from fixtures.nouns import Prove, Role, Secured
from splithorizon import checks


def test_one_root_is_served_by_both_gateways(secured: Secured, role: Role, prove: Prove) -> None:
    greeting = secured.doorway(role).greet()
    prove(checks.chain_leads_to_root(greeting, role, roots=secured.roots, identity=secured.helloworld_identity(role)))
