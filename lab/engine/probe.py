"""Does an engine run what kind will ask of it? Found out with an image made from nothing.

Two probes wait for each other, by a lock on the folder of the engine's program: that leaves no file.
"""

from __future__ import annotations

import fcntl
import io
import platform
import struct
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

LACKS, HAS = 40, 41
"""The program's exit statuses: without CAP_SYS_RESOURCE, with it. No engine uses them itself."""

# exit(prctl(PR_CAPBSET_READ = 23, CAP_SYS_RESOURCE = 24) + 40)
_CODE = {
    "x86_64": "b89d000000"  # mov eax, 157 (prctl)
    "bf17000000"  # mov edi, 23
    "be18000000"  # mov esi, 24
    "0f05"  # syscall
    "8d7828"  # lea edi, [rax + 40]
    "b83c000000"  # mov eax, 60 (exit)
    "0f05",  # syscall
    "aarch64": "e81480d2"  # mov x8, 167 (prctl)
    "e00280d2"  # mov x0, 23
    "010380d2"  # mov x1, 24
    "010000d4"  # svc 0
    "00a00091"  # add x0, x0, 40
    "a80b80d2"  # mov x8, 93 (exit)
    "010000d4",  # svc 0
}
_ELF_MACHINE = {"x86_64": 62, "aarch64": 183}

# What kind 0.33 passes to `run` for a node, without what only names it or keeps it.
_AS_KIND = (
    "--privileged", "--tty", "--cgroupns=private", "--hostname", NAME, "--net", NAME,
    "--tmpfs", "/tmp", "--tmpfs", "/run",
    "--volume", "/var", "--volume", "/lib/modules:/lib/modules:ro",
    "--publish=127.0.0.1::6443/tcp",
)  # fmt: skip
_ONLY_FOR = {
    "docker": (
        "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
        "--init=false",
    ),
    "podman": ("-e", "container=podman"),
}  # fmt: skip


class CannotRun(Exception):
    """The engine did not run the container; the message is the engine's own reason, on one line."""


def program(machine: str) -> bytes:
    """The smallest static ELF program whose exit status tells what its bounding set holds.

    Raises CannotRun for a machine that is neither x86_64 nor aarch64.
    """
    if machine not in _CODE:
        raise CannotRun(f"no probe for the machine {machine!r}, only for {' and '.join(_CODE)}")
    number, code = _ELF_MACHINE[machine], bytes.fromhex(_CODE[machine])
    base, headers = 0x400000, 64 + 56
    size = headers + len(code)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    elf = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    # Aligned to 64 KiB, the largest page of an aarch64 kernel.
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x10000)
    return identity + elf + segment + code


def archive(machine: str) -> bytes:
    """A root file system as a tar: that program and nothing else."""
    content, buffer = program(machine), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("probe")
        entry.mode, entry.size = 0o755, len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def lacks_resource_capability(engine: Engine) -> bool:
    """Run a privileged container as kind will, on a network of its own, and ask what it may do.

    Needs no registry, takes at most the probe's duration and leaves nothing. Raises CannotRun.
    """
    deadline = time.monotonic() + timeouts().engine_probe

    def step(*arguments: str, stdin: bytes | None = None, told: tuple[int, ...] = (0,)) -> int:
        left = max(deadline - time.monotonic(), 1.0)
        try:
            done = engine.run(*arguments, within=left, stdin=stdin, check=False)
        except EnvironmentBroke as problem:
            raise CannotRun(f"no answer from {engine.provider} {arguments[0]}: {one_line(str(problem))}") from problem
        if done.status not in told:
            raise CannotRun(one_line(done.stderr or done.stdout) or f"exit status {done.status}")
        return done.status

    with locked(engine.command.parent, fcntl.LOCK_EX):
        step("import", "-", IMAGE, stdin=archive(platform.machine()))
        try:
            _remove(engine)
            step("network", "create", NAME)
            flags = (*_AS_KIND, *_ONLY_FOR[engine.provider])
            status = step("run", "--name", NAME, *flags, IMAGE, "/probe", told=(LACKS, HAS))
            return status == LACKS
        finally:
            with process.cleaning_up():
                _remove(engine)
                _quietly(engine, "rmi", "--force", IMAGE)


def remove_remains(engine: Engine) -> None:
    """Remove what a killed run's probe left; fine where nothing is, and where the engine does not answer."""
    with locked(engine.command.parent, fcntl.LOCK_EX):
        _remove(engine)
        _quietly(engine, "rmi", IMAGE)


def one_line(text: str) -> str:
    """The line of an engine's output that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "rror" in line), lines[-1] if lines else "")


def _remove(engine: Engine) -> None:
    """Remove this probe's container and network, or those of one that was killed."""
    _quietly(engine, "rm", "--force", "--volumes", NAME)
    _quietly(engine, "network", "rm", NAME)


def _quietly(engine: Engine, *arguments: str) -> None:
    with suppress(EnvironmentBroke):
        engine.run(*arguments, within=timeouts().small_command, check=False)
