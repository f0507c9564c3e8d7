"""Every place that names a cluster or its network gives it the same name, from the labels to what istiod found.

Given  a cluster with its network, a gateway and injected pods
When   labels, proxies, remote secrets and istiod's own pages are read, in the order in which one follows from another
Then   all of them agree, and istiod has exactly the network's gateway addresses; the first that does not is named
Why    istio/istio#23828, #54909, #46777, #38258: a name that differs in one place leaves pods unreached, without a word
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import RecordEvidence, Setting
from splithorizon import checks


@behaviour(profile="core", breaks_when=("namespace-without-network", "registry-mistyped"))
def test_networks_are_named_alike_everywhere(
    naming_chain: list[Setting], cluster_name: str, record_evidence: RecordEvidence
) -> None:
    record_evidence(checks.naming_chain_is_whole(naming_chain, cluster_name))
