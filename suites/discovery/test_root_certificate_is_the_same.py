"""Every cluster gives our namespace the same root certificate, and it is valid for a week at least.

Given  our namespace in every cluster
When   the ConfigMap istio-ca-root-cert, from which each pod knows istiod, is read in each
Then   it is there, holds the same certificates, and one of them is valid for another week
Why    istio/istio#32244, #22463, #32501; istio.io's own troubleshooting compares the first cluster with itself
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Discovery, RecordEvidence
from splithorizon import checks


@behaviour(profile="extended", latent=True, breaks_when="root-certificate-missing")
def test_root_certificate_is_the_same(discovery: Discovery, record_evidence: RecordEvidence) -> None:
    record_evidence(checks.roots_agree(discovery.root_bundles))
