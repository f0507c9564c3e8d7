"""A client in either cluster is answered by the version near it and by the version in the other network.

Given  v1 only in the primary and v2 only in the remote
When   a client sends a fixed number of requests, none of them sent again
Then   every request is answered, and both versions are among the answers
Why    https://istio.io/latest/docs/setup/install/multicluster/verify/
Breaks when  the remote secret is missing: then only the near version answers
Profile  core
"""

from __future__ import annotations

from fixtures.nouns import Prove, Sample
from splithorizon import checks


def test_both_versions_answer(sample: Sample, prove: Prove) -> None:
    prove(checks.all_answered(sample.replies, sample.route))
    prove(checks.both_versions_answer(sample.replies, sample.route))
