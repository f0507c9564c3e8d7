"""Go programs: what is compiled with which flags, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.images import programs as go_programs
from lab.images import versions
from lab.images.cache import Cache
from lab.images.programs import Program
from splithorizon.base.errors import CommandFailed, UsageProblem
from tests.support.fake_programs import FakePrograms

KNOWN = versions.load()
PSEUDO_VERSION = "v0.0.0-20260306174214-0a1b2c3d4e5f"
# Writes the file that follows -o, as the linker does.
GO = """case "$1 $2" in
  "env GOVERSION") echo {version} ;;
  "build "*) while [ "$1" != -o ]; do shift; done; echo "$GOTMPDIR $CGO_ENABLED" >"$2"; touch "$GOTMPDIR/left" ;;
esac"""


@pytest.fixture
def go(programs: FakePrograms) -> FakePrograms:
    programs.add("go", GO.format(version="go1.26.1"))
    return programs


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module a\n")
    (folder / "main.go").write_text("package main\n")
    (folder / "README.md").write_text("no source\n")
    return folder


def compile_calls(go: FakePrograms) -> list[str]:
    return [call for call in go.calls if call.startswith("go build")]


def test_a_program_is_compiled_offline_and_pinned_and_leaves_no_temporary_file(
    go: FakePrograms, module: Path, empty_cache: Cache
) -> None:
    program = Program("tools", module, {"one": ".", "two": "b/c"}, {"v.version": "1", "v.commit": "2"})
    folder = program.build(empty_cache, Path("/dev/null"))
    assert {path.name for path in folder.iterdir()} == {"one", "two"}
    first, second = compile_calls(go)
    for flag in ("-trimpath", "-buildvcs=false", "-mod=readonly", "-X v.commit=2 -X v.version=1"):
        assert flag in first
    assert first.endswith("one .")
    assert second.endswith("two b/c")
    assert (folder / "one").read_text().split()[1] == "0", "without cgo"


def test_a_program_is_compiled_again_only_if_something_that_goes_into_it_changes(
    go: FakePrograms, module: Path, empty_cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program("tools", module, {"one": "."}, {"v.version": "1"})
    made = {program.build(empty_cache, Path("/dev/null"))}
    (module / "README.md").write_text("still no source\n")
    made.add(program.build(empty_cache, Path("/dev/null")))
    assert len(made) == len(compile_calls(go)) == 1
    changed = [replace(program, variables={"v.version": "2"}), replace(program, packages={"one": "./b"})]
    made |= {other.build(empty_cache, Path("/dev/null")) for other in changed}
    (module / "main.go").write_text("package main // changed\n")
    made.add(program.build(empty_cache, Path("/dev/null")))
    monkeypatch.setenv("GOARCH", "arm64")
    made.add(program.build(empty_cache, Path("/dev/null")))
    go.add("go", GO.format(version="go1.27.0"))
    made.add(program.build(empty_cache, Path("/dev/null")))
    assert len(made) == len(compile_calls(go)) == 6


def test_a_compilation_that_fails_is_not_kept(programs: FakePrograms, module: Path, empty_cache: Cache) -> None:
    script = 'case "$1" in env) echo go1.26.0 ;; build) echo "main.go:1: syntax error" >&2; exit 1 ;; esac'
    programs.add("go", script)
    program = Program("tools", module, {"one": "."})
    with pytest.raises(CommandFailed, match="syntax error"):
        program.build(empty_cache, Path("/dev/null"))
    programs.add("go", GO.format(version="go1.26.0"))
    assert (program.build(empty_cache, Path("/dev/null")) / "one").is_file()


@pytest.mark.parametrize("version", ["go1.26", "go1.26.0", "go1.30.2"])
def test_a_go_that_is_new_enough_is_used(programs: FakePrograms, version: str) -> None:
    programs.add("go", GO.format(version=version))
    assert go_programs.go_version() == version


@pytest.mark.parametrize("version", ["go1.25.9", "go1.9"])
def test_an_older_go_is_refused_with_both_versions(programs: FakePrograms, version: str) -> None:
    programs.add("go", GO.format(version=version))
    with pytest.raises(UsageProblem) as refused:
        go_programs.go_version()
    assert str(refused.value) == f"compiling needs Go 1.26 or newer, and this is {version}. Nothing was created."


def test_a_machine_without_go_gets_the_programs_that_do_instead(programs: FakePrograms) -> None:
    programs.hide_all_others()
    with pytest.raises(UsageProblem, match=r"kind, kubectl and istioctl are enough: .* Nothing was created\.$"):
        go_programs.go_version()


def test_the_module_of_a_release_is_that_of_the_repository(empty_cache: Cache) -> None:
    source = KNOWN.istio(None)
    assert go_programs.istio_module(source, KNOWN, empty_cache, Path("/dev/null")) == source.module


# `go mod download` names the go.mod of the module, and `go mod edit -json` shows what that replaces.
GO_MODULES = """case "$1 $2 $3" in
  "list -m "*) {listed} ;;
  "mod download -json") mkdir there; echo 1.31 >there/VERSION
    echo "{{\\"GoMod\\": \\"/there/go.mod\\", \\"Dir\\": \\"$PWD/there\\"}}" ;;
  "mod edit -json") echo '{replaced}' ;;
  "mod edit "*) echo "${{3#-replace=}}" >>replaced ;;
  "mod tidy ") {tidied} ;;
esac"""
TIDIED = "echo hash >go.sum"
REPLACED = json.dumps(
    {"Replace": [{"Old": {"Path": "a/b"}, "New": {"Path": "c/d", "Version": "v1"}},
                 {"Old": {"Path": "e", "Version": "v2"}, "New": {"Path": "f", "Version": "v3"}}]}
)  # fmt: skip


def test_the_module_of_a_pseudo_version_requires_it_and_replaces_what_it_replaces(
    programs: FakePrograms, empty_cache: Cache
) -> None:
    programs.add("go", GO_MODULES.format(listed="true", replaced=REPLACED, tidied=TIDIED))
    folder = go_programs.istio_module(KNOWN.istio(PSEUDO_VERSION), KNOWN, empty_cache, Path("/dev/null"))
    assert (folder / "go.mod").read_text().endswith(f")\n\nrequire istio.io/istio {PSEUDO_VERSION}\n")
    assert (folder / "replaced").read_text().splitlines() == ["a/b=c/d@v1", "e@v2=f@v3"]
    assert (folder / "go.sum").is_file()


def test_a_commit_without_a_name_says_that_it_is_a_snapshot_of_its_minor_version(
    programs: FakePrograms, empty_cache: Cache
) -> None:
    programs.add("go", GO_MODULES.format(listed="true", replaced=REPLACED, tidied=TIDIED))
    source = KNOWN.istio(PSEUDO_VERSION)
    module = go_programs.istio_module(source, KNOWN, empty_cache, Path("/dev/null"))
    variables = go_programs.istio(source, module).variables
    assert variables["istio.io/istio/pkg/version.buildVersion"] == "1.31-alpha.0a1b2c3d4e5f"
    assert variables["istio.io/istio/pkg/version.buildTag"] == source.version, "of the images"


def test_a_pseudo_version_that_the_proxy_does_not_serve_is_refused(programs: FakePrograms, empty_cache: Cache) -> None:
    programs.add(
        "go", GO_MODULES.format(listed='echo "go: unknown revision" >&2; exit 1', replaced="{}", tidied="false")
    )
    with pytest.raises(UsageProblem) as refused:
        go_programs.istio_module(KNOWN.istio(PSEUDO_VERSION), KNOWN, empty_cache, Path("/dev/null"))
    assert str(refused.value) == (
        f"the Go module proxy does not serve Istio {PSEUDO_VERSION}: go: unknown revision. Nothing was created."
    )


# As Go 1.26 prints it for Istio 1.27.9, whose go.mod requires commits that the proxy does not serve.
NOT_SERVED = """go: splithorizon/images/istio imports
	istio.io/istio/pilot/pkg/model imports
	istio.io/api/a/v1: istio.io/api@v1.27.8-0.20260228163850-469b1b2d2cfa: reading https://a.test/b.zip: 403 Forbidden
	server response: This module version is not available."""
UNREACHABLE = (
    """go: istio.io/api@v1.27.8: Get "https://proxy.test/api.mod": dial tcp: lookup proxy.test: no such host"""
)


def printing(text: str) -> str:
    return f"cat >&2 <<'END'\n{text}\nEND\nexit 1"


def test_a_required_module_that_is_not_served_is_bad_input_and_named(
    programs: FakePrograms, empty_cache: Cache
) -> None:
    programs.add("go", GO_MODULES.format(listed="true", replaced=REPLACED, tidied=printing(NOT_SERVED)))
    with pytest.raises(UsageProblem) as refused:
        go_programs.istio_module(KNOWN.istio(PSEUDO_VERSION), KNOWN, empty_cache, Path("/dev/null"))
    assert str(refused.value) == (
        f"Istio {PSEUDO_VERSION} cannot be built: the Go module proxy does not serve istio.io/api "
        "v1.27.8-0.20260228163850-469b1b2d2cfa (reading https://a.test/b.zip: 403 Forbidden). Nothing was created."
    )


def test_a_proxy_that_cannot_be_reached_is_no_bad_input(programs: FakePrograms, empty_cache: Cache) -> None:
    programs.add("go", GO_MODULES.format(listed="true", replaced=REPLACED, tidied=printing(UNREACHABLE)))
    with pytest.raises(CommandFailed, match="no such host"):
        go_programs.istio_module(KNOWN.istio(PSEUDO_VERSION), KNOWN, empty_cache, Path("/dev/null"))


@pytest.mark.parametrize(
    "text",
    [
        "main.go:3:8: a/b@v1.2.3: reading https://proxy.test/a/b.zip: 404 Not Found",
        "main.go:3:8: a/b@v1.2.3: invalid version: unknown revision v1.2.3",
    ],
)
def test_a_module_that_a_release_requires_and_nobody_serves_is_bad_input(
    programs: FakePrograms, module: Path, empty_cache: Cache, text: str
) -> None:
    programs.add(
        "go", f'case "$1" in env) echo go1.26.0 ;; build) {printing(text)} ;; esac'.replace("exit 1 ;;", "exit 1\n;;")
    )
    with pytest.raises(UsageProblem, match=r"^tools cannot be built: .* does not serve a/b v1\.2\.3 \("):
        Program("tools", module, {"one": "."}).build(empty_cache, Path("/dev/null"))


def test_a_module_that_lies_elsewhere_is_taken_from_there_and_is_in_the_key(
    go: FakePrograms, module: Path, tmp_path: Path, empty_cache: Cache
) -> None:
    elsewhere = tmp_path / "2.0"
    elsewhere.mkdir()
    (elsewhere / "go.mod").write_text("module a\n")
    beside, apart = Program("tools", module, {"one": "."}), Program("tools", module, {"one": "."}, pins=elsewhere)
    folder = beside.build(empty_cache, Path("/dev/null"))
    assert "-modfile" not in compile_calls(go)[-1]
    assert apart.build(empty_cache, Path("/dev/null")) == folder, "the same content"
    (elsewhere / "go.sum").write_text("another hash\n")
    assert apart.build(empty_cache, Path("/dev/null")) != folder
    assert f"-modfile={elsewhere / 'go.mod'} " in compile_calls(go)[-1]
    (module / "go.mod").write_text("module b\n")
    calls = len(compile_calls(go))
    apart.build(empty_cache, Path("/dev/null"))
    assert len(compile_calls(go)) == calls, "what lies beside the sources is not looked at"


def test_every_program_is_built_from_a_module_that_exists() -> None:
    source = KNOWN.istio(None)
    assert source.module is not None
    built = [
        go_programs.kubernetes(KNOWN),
        go_programs.istio(source, source.module),
        *go_programs.small_programs(),
    ]
    assert len({program.name for program in built}) == len(built)
    for program in built:
        assert (program.module / "go.mod").is_file(), program.name
        assert program.packages


def test_programs_carry_the_version_that_they_are_built_from() -> None:
    source = KNOWN.istio(None)
    assert source.module is not None
    istio = go_programs.istio(source, source.module).variables
    assert istio["istio.io/istio/pkg/version.buildVersion"] == source.version
    assert istio["istio.io/istio/pkg/version.buildGitRevision"] == source.revision
    major, minor, _ = KNOWN.kubernetes.split(".")
    kubernetes = go_programs.kubernetes(KNOWN).variables
    prefix = "k8s.io/component-base/version"
    assert (kubernetes[f"{prefix}.gitMajor"], kubernetes[f"{prefix}.gitMinor"]) == (major, minor)
    assert kubernetes[f"{prefix}.gitVersion"] == f"v{KNOWN.kubernetes}"


@pytest.mark.parametrize("version", KNOWN.kubernetes_others)
def test_another_kubernetes_is_the_same_program_of_its_own_modules(version: str) -> None:
    default, other = go_programs.kubernetes(KNOWN), go_programs.kubernetes(KNOWN.with_kubernetes(version))
    assert default.pins is None
    assert other.pins == default.module / version
    assert (other.name, other.module, other.packages) == (default.name, default.module, default.packages)
    assert other.variables["k8s.io/component-base/version.gitVersion"] == f"v{version}"
