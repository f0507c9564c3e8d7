"""Choose the engine by trying it; install podman where there is none and the machine lets us."""

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
# Kept with the engine, so that a later run can clean up after this one from another shell.
_REMEMBERED = (
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
    "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINER_HOST",
    "KIND_EXPERIMENTAL_DOCKER_NETWORK", "KIND_EXPERIMENTAL_PODMAN_NETWORK",
)  # fmt: skip


def find_engine(wanted: str, *, run_folder: Path, say: Callable[[str], None], may_install: bool = True) -> Engine:
    """Return an engine that just ran a privileged container.

    `wanted` is "docker", "podman" or "auto" (docker, then podman). The folder takes our own podman
    configuration where the machine needs one. Raises UsageProblem when no engine will do.
    """
    if wanted not in _PROVIDERS:
        raise UsageProblem(f"--provider {wanted}: choose one of {', '.join(_PROVIDERS)}. Nothing was created.")
    refused: dict[Provider, str] = {}
    for provider in _PROVIDERS[wanted]:
        try:
            return _try(provider, run_folder, say)
        except CannotRun as refusal:
            refused[provider] = str(refusal)
    packages = _missing_packages() if "podman" in refused else []
    if packages and may_install and _is_debian() and os.geteuid() == 0:
        try:
            _install(packages, run_folder / "apt.log", say)
            return _try("podman", run_folder, say)
        except CannotRun as refusal:
            refused["podman"] = str(refusal)
    reasons = "; ".join(f"{provider}: {reason.rstrip('.')}" for provider, reason in refused.items())
    raise UsageProblem(
        f"no container engine here runs a privileged container, which kind needs ({reasons}). "
        f"Nothing was created. {_advice(refused)}"
    )


def installed() -> list[Engine]:
    """Every engine whose program is here, as the caller's environment has it; whether one works is not tried."""
    found = ((provider, shutil.which(provider)) for provider in _PROVIDERS["auto"])
    return [_engine(provider, Path(command)) for provider, command in found if command]


def containers_conf(*, files: int, processes: int, runtime: str | None) -> str:
    """A podman configuration that asks for no more than these hard limits; -1 is no limit.

    podman's defaults would raise the limits of a container, which takes a capability that a bounded
    machine lacks; crun, its default runtime, refuses a machine that mixes cgroup v1 and v2.
    """
    limits = [f'"{name}={limit}:{limit}"' for name, limit in (("nofile", files), ("nproc", processes)) if limit >= 0]
    lines = ["[containers]", f"default_ulimits = [{', '.join(limits)}]"]
    # A node is one container with all its pods in it: podman's 2048 processes are for a program.
    lines += ["pids_limit = 0", "[engine]", 'cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    # A node that is removed has nothing to save; podman would give each ten seconds to do it.
    lines += ["stop_timeout = 0"]
    lines += [f'runtime = "{runtime}"'] if runtime else []
    return "\n".join(lines) + "\n"


def _try(provider: Provider, run_folder: Path, say: Callable[[str], None]) -> Engine:
    command = shutil.which(provider)
    if command is None:
        raise CannotRun("not installed")
    engine = _engine(provider, Path(command))
    _require_genuine(engine)
    if provider == "docker":
        engine = _measured(engine)
    else:
        with _modules_folder(say):
            engine = _podman(engine, run_folder, say)
    if _storage_driver(engine) == "vfs":
        say(
            f"warning: {provider} stores images with its driver vfs, a full copy per container: "
            "expect minutes where overlay takes seconds, and many times the disk space"
        )
    return engine


def _engine(provider: Provider, command: Path) -> Engine:
    environment = {name: os.environ[name] for name in _REMEMBERED if name in os.environ}
    environment["KIND_EXPERIMENTAL_PROVIDER"] = provider
    if provider == "docker":
        # With buildx's attestation beside it, an image would be saved as an index, not an image.
        environment["BUILDX_NO_DEFAULT_ATTESTATIONS"] = "1"
    return Engine(provider=provider, command=command, environment=environment, lacks_resource_capability=False)


def _podman(engine: Engine, run_folder: Path, say: Callable[[str], None]) -> Engine:
    """With the user's own configuration if that works, else with ours in its place."""
    try:
        return _measured(engine)
    except CannotRun as refusal:
        own = str(refusal)
    path = run_folder / "containers.conf"
    private_file.write(
        path,
        containers_conf(
            files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            processes=_most_processes(),
            runtime=None if _is_unified() else shutil.which("runc") and "runc",
        ),
    )
    try:
        engine = _measured(replace(engine, environment={**engine.environment, "CONTAINERS_CONF": str(path)}))
    except CannotRun as refusal:
        raise CannotRun(own if str(refusal) == own else f"{own}; within this machine's limits: {refusal}") from refusal
    say(f"podman takes this machine's limits from {path}; its own configuration fails here: {own}")
    return engine


def _most_processes() -> int:
    """What is left to podman's children: podman lowers its own limit to the kernel's pid_max."""
    pids = int(Path("/proc/sys/kernel/pid_max").read_text())
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return pids if hard == resource.RLIM_INFINITY else min(hard, pids)


def _measured(engine: Engine) -> Engine:
    return replace(engine, lacks_resource_capability=lacks_resource_capability(engine))


def _require_genuine(engine: Engine) -> None:
    """Refuse podman under docker's name: kind asks the same way and does not take it as docker."""
    said = _ask(engine, "--version")
    if not said.lower().startswith(f"{engine.provider} version"):
        raise CannotRun(f"{engine.command} is something else: {said!r}")


def _storage_driver(engine: Engine) -> str:
    field = "{{.Driver}}" if engine.provider == "docker" else "{{.Store.GraphDriverName}}"
    return _ask(engine, "info", "--format", field)


def _ask(engine: Engine, *arguments: str) -> str:
    try:
        return engine.run(*arguments, within=timeouts().small_command).stdout.strip()
    except EnvironmentBroke as problem:
        raise CannotRun(one_line(str(problem))) from problem


@contextmanager
def _modules_folder(say: Callable[[str], None]) -> Iterator[None]:
    """Have /lib/modules while podman is tried, and from then on if it works.

    kind mounts it into every node. docker makes what it is told to mount, podman refuses.
    """
    if MODULES.exists():
        yield
        return
    try:
        MODULES.mkdir()
    except OSError as problem:
        raise CannotRun(f"kind mounts {MODULES}, which is missing; run: sudo mkdir {MODULES}") from problem
    say(f"made the empty folder {MODULES}: kind mounts it into its nodes")
    try:
        yield
    except BaseException:
        MODULES.rmdir()
        raise


def _missing_packages() -> list[str]:
    # runc only where crun is known to fail: elsewhere it may clash with docker's own packages.
    needed = ["podman"] if _is_unified() else ["podman", "runc"]
    return [name for name in needed if shutil.which(name) is None]


def _install(packages: list[str], log: Path, say: Callable[[str], None]) -> None:
    """Install with apt, taking nothing away. Raises CannotRun."""
    say(f"no container engine runs privileged containers here: installing {' and '.join(packages)} with apt-get")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    within = timeouts().package_download
    install = ["--yes", "--no-remove", "--option", "DPkg::Lock::Timeout=60", *packages]
    try:
        # One dead source of many fails the update, and the packages may be had all the same.
        process.run(["apt-get", "update"], within=within, env=quiet, log=log, check=False)
        process.run(["apt-get", "install", *install], within=within, env=quiet, log=log)
    except EnvironmentBroke as problem:
        raise CannotRun(f"apt-get failed: {one_line(str(problem))}") from problem


def _advice(refused: Mapping[Provider, str]) -> str:
    """The command that most likely mends it, with nothing behind it that would be copied too."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    packages = _missing_packages() if "podman" in refused else []
    if "docker" in refused and not packages:
        if "onnect to the Docker daemon" in refused["docker"]:
            return f"Run: {sudo}service docker start"
        packages = [] if shutil.which("docker") else ["docker.io"]
    if not packages:
        return f"Look at: {list(refused)[-1]} info"
    if not _is_debian():
        return f"Install it, for example with: {sudo}dnf install -y {' '.join(packages)}"
    return f"Run: {sudo}apt-get update && {sudo}apt-get install -y {' '.join(packages)}"


def _is_debian() -> bool:
    return Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def _is_unified() -> bool:
    """Whether the machine has cgroup v2 alone."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()
