"""Tests whether an engine can run kind's nodes, by one container from an image made of this machine's own shell.

Only one probe runs at a time. They exclude each other by a lock on the folder of the engine's program, which leaves no
file behind.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import tarfile
import time
from contextlib import suppress

from lab.engine import Engine
from splithorizon.base import process
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.file_lock import locked
from splithorizon.base.timeouts import current as timeouts

NAME = "splithorizon-probe"
IMAGE = "splithorizon.local/probe:1"
SHELL = "/bin/sh"

LACKS, HAS = 40, 41
"""The script's exit statuses: without CAP_SYS_RESOURCE, and with it. No engine uses them itself."""

# CAP_SYS_RESOURCE is bit 24 of the bounding set, see capabilities(7) and proc_pid_status(5).
SCRIPT = f"""
while read -r name value; do
    [ "$name" != CapBnd: ] || exit $(({LACKS} + (0x$value >> 24 & 1)))
done </proc/self/status
"""

# What kind 0.33 passes to `run` for a node, without what only names or keeps the container.
_NODE_FLAGS = (
    "--privileged", "--tty", "--cgroupns=private", "--hostname", NAME, "--net", NAME,
    "--tmpfs", "/tmp", "--tmpfs", "/run",
    "--volume", "/var", "--volume", "/lib/modules:/lib/modules:ro",
    "--publish=127.0.0.1::6443/tcp",
)  # fmt: skip
_PROVIDER_FLAGS = {
    "docker": (
        "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
        "--init=false",
    ),
    "podman": ("-e", "container=podman"),
}  # fmt: skip


class CannotRun(Exception):
    """The engine did not run the container; the message is the engine's own reason, on one line."""


def archive() -> bytes:
    """A root file system as a tar: this machine's shell and the libraries that it loads.

    Raises CannotRun where ``ldd`` cannot be started.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), os.defpath])
    try:
        # It fails for a static shell, which needs no library.
        listed = process.run(["ldd", SHELL], within=timeouts().small_command, env={"PATH": path}, check=False).stdout
    except EnvironmentBroke as problem:
        raise CannotRun(one_line(str(problem))) from problem
    libraries = re.findall(r"(?:=>\s*|^\s*)(/\S+)", listed, flags=re.MULTILINE)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        for path in sorted({SHELL, *libraries}):
            tar.add(path)
    return buffer.getvalue()


def lacks_resource_capability(engine: Engine) -> bool:
    """Run a privileged container with the flags of kind's nodes, and return whether it lacks CAP_SYS_RESOURCE.

    The container has a separate network. The probe needs no registry, ends within ``timeouts().engine_probe`` once no
    other one runs, and leaves nothing behind. Raises CannotRun.
    """

    def run(*arguments: str, stdin: bytes | None = None, expected: tuple[int, ...] = (0,)) -> int:
        remaining = max(deadline - time.monotonic(), 1.0)
        try:
            done = engine.run(*arguments, within=remaining, stdin=stdin, check=False)
        except EnvironmentBroke as problem:
            raise CannotRun(f"no answer from {engine.provider} {arguments[0]}: {one_line(str(problem))}") from problem
        if done.status not in expected:
            raise CannotRun(one_line(done.stderr or done.stdout) or f"exit status {done.status}")
        return done.status

    with locked(engine.command.parent, fcntl.LOCK_EX):
        # Another's probe may have been waited for.
        deadline = time.monotonic() + timeouts().engine_probe
        run("import", "-", IMAGE, stdin=archive())
        try:
            _remove_container_and_network(engine)
            run("network", "create", NAME)
            flags = (*_NODE_FLAGS, *_PROVIDER_FLAGS[engine.provider])
            status = run("run", "--name", NAME, *flags, IMAGE, SHELL, "-c", SCRIPT, expected=(LACKS, HAS))
            return status == LACKS
        finally:
            with process.cleaning_up():
                _remove_container_and_network(engine)
                _run_ignoring_errors(engine, "rmi", "--force", IMAGE)


def remove_remains(engine: Engine) -> None:
    """Remove what the probe of a killed run left. It is no error if there is nothing, or if the engine fails."""
    with locked(engine.command.parent, fcntl.LOCK_EX):
        _remove_container_and_network(engine)
        _run_ignoring_errors(engine, "rmi", IMAGE)


def one_line(text: str) -> str:
    """The line of an engine's output that states the error, or the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "rror" in line), lines[-1] if lines else "")


def _remove_container_and_network(engine: Engine) -> None:
    _run_ignoring_errors(engine, "rm", "--force", "--volumes", NAME)
    _run_ignoring_errors(engine, "network", "rm", NAME)


def _run_ignoring_errors(engine: Engine, *arguments: str) -> None:
    with suppress(EnvironmentBroke):
        engine.run(*arguments, within=timeouts().small_command, check=False)
