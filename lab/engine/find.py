"""Chooses a container engine by a probe, and installs podman on Debian if no engine works."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lab.engine import Engine, Provider
from lab.engine.probe import CannotRun, lacks_resource_capability, one_line
from splithorizon.base import private_file, process
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.base.timeouts import current as timeouts

MODULES = Path("/lib/modules")

_PROVIDERS: dict[str, tuple[Provider, ...]] = {
    "auto": ("docker", "podman"),
    "docker": ("docker",),
    "podman": ("podman",),
}
# Stored with the engine, so that a later run can remove what this one left, from a shell with other variables.
_STORED_VARIABLES = (
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
    "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINER_HOST",
    "KIND_EXPERIMENTAL_DOCKER_NETWORK", "KIND_EXPERIMENTAL_PODMAN_NETWORK",
)  # fmt: skip


def find_engine(wanted: str, *, run_folder: Path, say: Callable[[str], None], may_install: bool = True) -> Engine:
    """Return an engine that has just run a privileged container.

    ``wanted`` is "docker", "podman" or "auto" (docker, then podman). A podman configuration for this machine, if one is
    needed, is written into the folder. Raises UsageProblem if no engine works.
    """
    if wanted not in _PROVIDERS:
        raise UsageProblem(f"--provider {wanted}: choose one of {', '.join(_PROVIDERS)}. Nothing was created.")
    reasons: dict[Provider, str] = {}
    for provider in _PROVIDERS[wanted]:
        try:
            return _probed(provider, run_folder, say)
        except CannotRun as reason:
            reasons[provider] = str(reason)
    packages = _missing_packages() if "podman" in reasons else []
    if packages and may_install and _is_debian() and os.geteuid() == 0:
        try:
            _install(packages, run_folder / "apt.log", say)
            return _probed("podman", run_folder, say)
        except CannotRun as reason:
            reasons["podman"] = str(reason)
    listed = "; ".join(f"{provider}: {reason.rstrip('.')}" for provider, reason in reasons.items())
    raise UsageProblem(
        f"no container engine here runs a privileged container, which kind needs ({listed}). "
        f"Nothing was created. {_advice(reasons)}"
    )


def installed() -> list[Engine]:
    """Every engine whose program is on PATH, with the caller's environment, and without a probe."""
    commands = ((provider, shutil.which(provider)) for provider in _PROVIDERS["auto"])
    return [_engine(provider, Path(command)) for provider, command in commands if command]


def containers_conf(*, files: int, processes: int, runtime: str | None) -> str:
    """A podman configuration for a machine with these hard limits; -1 is no limit.

    podman's defaults raise a container's limits, for which a restricted machine lacks the capability. Its default
    runtime, crun, fails on a machine that mixes cgroup v1 and v2.
    """
    limits = [f'"{name}={limit}:{limit}"' for name, limit in (("nofile", files), ("nproc", processes)) if limit >= 0]
    lines = ["[containers]", f"default_ulimits = [{', '.join(limits)}]"]
    # A node's container holds all pods of a cluster: podman's default of 2048 processes is too low.
    lines += ["pids_limit = 0", "[engine]", 'cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    # By default podman waits ten seconds for a container to stop. A node that is removed has nothing to save.
    lines += ["stop_timeout = 0"]
    lines += [f'runtime = "{runtime}"'] if runtime else []
    return "\n".join(lines) + "\n"


def _probed(provider: Provider, run_folder: Path, say: Callable[[str], None]) -> Engine:
    """The engine of a provider, if it runs a privileged container. Raises CannotRun."""
    command = shutil.which(provider)
    if command is None:
        raise CannotRun("not installed")
    engine = _engine(provider, Path(command))
    _require_genuine(engine)
    if provider == "docker":
        engine = _with_capability(engine)
    else:
        with _modules_folder(say):
            engine = _probed_podman(engine, run_folder, say)
    if _storage_driver(engine) == "vfs":
        say(
            f"warning: {provider} stores images with its driver vfs, a full copy per container: "
            "expect minutes where overlay takes seconds, and many times the disk space"
        )
    return engine


def _engine(provider: Provider, command: Path) -> Engine:
    environment = {name: os.environ[name] for name in _STORED_VARIABLES if name in os.environ}
    environment["KIND_EXPERIMENTAL_PROVIDER"] = provider
    if provider == "docker":
        # With attestations of buildx, an image would be saved as an index and not as an image.
        environment["BUILDX_NO_DEFAULT_ATTESTATIONS"] = "1"
    return Engine(provider=provider, command=command, environment=environment, lacks_resource_capability=False)


def _probed_podman(engine: Engine, run_folder: Path, say: Callable[[str], None]) -> Engine:
    """Return podman with the user's configuration if that works, else with ours."""
    try:
        return _with_capability(engine)
    except CannotRun as reason:
        first = str(reason)
    path = run_folder / "containers.conf"
    private_file.write(
        path,
        containers_conf(
            files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            processes=_process_limit(),
            runtime=None if _is_unified() else shutil.which("runc") and "runc",
        ),
    )
    try:
        engine = _with_capability(replace(engine, environment={**engine.environment, "CONTAINERS_CONF": str(path)}))
    except CannotRun as reason:
        both = f"{first}; with this machine's limits: {reason}"
        raise CannotRun(first if str(reason) == first else both) from reason
    say(f"podman uses this machine's limits from {path}, because its own configuration fails: {first}")
    return engine


def _process_limit() -> int:
    """The most processes that podman can allow a container: podman lowers its own limit to the kernel's pid_max."""
    pids = int(Path("/proc/sys/kernel/pid_max").read_text())
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return pids if hard == resource.RLIM_INFINITY else min(hard, pids)


def _with_capability(engine: Engine) -> Engine:
    return replace(engine, lacks_resource_capability=lacks_resource_capability(engine))


def _require_genuine(engine: Engine) -> None:
    """Raise CannotRun for podman under docker's name: kind makes the same test and does not use it as docker."""
    version = _output(engine, "--version")
    if not version.lower().startswith(f"{engine.provider} version"):
        raise CannotRun(f"{engine.command} is something else: {version!r}")


def _storage_driver(engine: Engine) -> str:
    field = "{{.Driver}}" if engine.provider == "docker" else "{{.Store.GraphDriverName}}"
    return _output(engine, "info", "--format", field)


def _output(engine: Engine, *arguments: str) -> str:
    try:
        return engine.run(*arguments, within=timeouts().small_command).stdout.strip()
    except EnvironmentBroke as problem:
        raise CannotRun(one_line(str(problem))) from problem


@contextmanager
def _modules_folder(say: Callable[[str], None]) -> Iterator[None]:
    """Create /lib/modules if it is missing, and remove it again if the block raises.

    kind mounts it into every node. docker creates a missing folder, podman fails. Raises CannotRun if the folder cannot
    be created.
    """
    if MODULES.exists():
        yield
        return
    try:
        MODULES.mkdir()
    except OSError as problem:
        raise CannotRun(f"kind mounts {MODULES}, which is missing; run: sudo mkdir {MODULES}") from problem
    say(f"created the empty folder {MODULES}: kind mounts it into its nodes")
    try:
        yield
    except BaseException:
        MODULES.rmdir()
        raise


def _missing_packages() -> list[str]:
    # runc only where crun is known to fail: elsewhere it may conflict with docker's packages.
    needed = ["podman"] if _is_unified() else ["podman", "runc"]
    return [name for name in needed if shutil.which(name) is None]


def _install(packages: list[str], log: Path, say: Callable[[str], None]) -> None:
    """Install packages with apt-get, removing none. Raises CannotRun."""
    say(f"no container engine runs privileged containers here: installing {' and '.join(packages)} with apt-get")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    within = timeouts().package_download
    install = ["--yes", "--no-remove", "--option", "DPkg::Lock::Timeout=60", *packages]
    try:
        # A single unreachable source makes the update fail, and the packages may still be available.
        process.run(["apt-get", "update"], within=within, env=quiet, log=log, check=False)
        process.run(["apt-get", "install", *install], within=within, env=quiet, log=log)
    except EnvironmentBroke as problem:
        raise CannotRun(f"apt-get failed: {one_line(str(problem))}") from problem


def _advice(reasons: Mapping[Provider, str]) -> str:
    """The command that most likely helps. Nothing follows it, so that it can be copied to the end of the line."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    packages = _missing_packages() if "podman" in reasons else []
    if "docker" in reasons and not packages:
        if "onnect to the Docker daemon" in reasons["docker"]:
            return f"Run: {sudo}service docker start"
        packages = [] if shutil.which("docker") else ["docker.io"]
    if not packages:
        return f"See: {list(reasons)[-1]} info"
    if not _is_debian():
        return f"Install it, for example with: {sudo}dnf install -y {' '.join(packages)}"
    return f"Run: {sudo}apt-get update && {sudo}apt-get install -y {' '.join(packages)}"


def _is_debian() -> bool:
    return Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def _is_unified() -> bool:
    """Whether the machine uses cgroup v2 only."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()
