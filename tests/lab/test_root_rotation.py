from __future__ import annotations

import base64
from pathlib import Path

from lab import topology
from lab.ca import Trust
from lab.phased_change import ChangedMesh
from lab.root_rotation import RootRotation
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.run.progress import Progress
from tests.support.mesh_info import mesh_info


def rotation(folder: Path) -> RootRotation:
    shape = topology.plan("lab", PRIMARY_REMOTE)
    mesh = ChangedMesh(shape, {}, mesh_info(folder), Progress(print), folder)
    return RootRotation(mesh, Trust.make(), Trust.make())


def test_every_proxy_trusts_both_roots_before_the_first_certificate_below_the_new_one(tmp_path: Path) -> None:
    assert [step.name for step in rotation(tmp_path).steps()] == [
        "istiods trust both roots",
        "proxies of primary trusting both roots",
        "proxies of remote trusting both roots",
        "istiods sign below the new root",
        "proxies of primary certified below the new root",
        "proxies of remote certified below the new root",
        "istiods drop the old root",
        "proxies of primary without the old root",
        "proxies of remote without the old root",
    ]


def test_the_chain_of_the_new_ca_leads_to_a_root_that_both_trust(tmp_path: Path) -> None:
    made = rotation(tmp_path)
    both = made.before.trusting_too(made.after)
    signs = made.after.trusting_too(made.before)
    new_root = made.after.files["remote"]["root-cert.pem"]
    assert new_root in both.files["primary"]["root-cert.pem"]
    assert base64.b64decode(signs.cacerts("primary")["data"]["cert-chain.pem"]).endswith(new_root)
