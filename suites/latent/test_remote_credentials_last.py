"""The credential in each remote secret is valid for another day, and allows what Istio's reader account needs.

Given  the remote secrets by which an istiod watches the other clusters of the mesh
When   the end of each credential's life is read, and the watched API server is asked with it for each right of the
       reader account's role, and for those that istiod cannot do without
Then   none ends within a day, none is refused, and every right is granted; an end within a week is reported
Why    istio/istio#46740: a watch that is open goes on after its token has ended, until istiod connects again
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import RecordEvidence, RemoteAccess
from splithorizon import checks


@behaviour(profile="core", latent=True, breaks_when=("remote-token-of-ten-minutes", "reader-lacks-endpoint-slices"))
def test_remote_credentials_last(remote_accesses: list[RemoteAccess], record_evidence: RecordEvidence) -> None:
    record_evidence(checks.remote_credentials_last(remote_accesses))
