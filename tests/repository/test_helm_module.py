"""The Helm that a machine test installs a mesh with is the one that Istio requires, and is pinned by hash."""

from __future__ import annotations

import re
from pathlib import Path

from lab.images import programs, versions

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "tests" / "machine" / "helm"
HELM = "helm.sh/helm/v3"


def required(module: Path) -> dict[str, str]:
    lines = re.findall(r"^\t?(?:require )?(\S+) (v\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    return dict(lines)


def test_helm_has_the_version_that_istio_requires() -> None:
    istio = versions.load().istio(None).module
    assert istio is not None
    assert required(MODULE)[HELM] == required(istio)[HELM]


def test_helm_is_built_with_the_oldest_go_that_is_accepted() -> None:
    text = (MODULE / "go.mod").read_text()
    assert f"\ngo {'.'.join(map(str, programs._OLDEST_GO))}\n" in text
    assert "toolchain" not in text, "it would download another Go"


def test_all_that_helm_requires_is_pinned_by_hash() -> None:
    hashed = {tuple(line.split()[:2]) for line in (MODULE / "go.sum").read_text().splitlines()}
    found = required(MODULE)
    assert len(found) > 50
    assert [
        name for name, version in found.items() if not {(name, version), (name, f"{version}/go.mod")} & hashed
    ] == []
