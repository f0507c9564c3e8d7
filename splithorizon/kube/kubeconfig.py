"""One context of the user's kubeconfig, copied out: the user's own files are only ever read."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from splithorizon.base import private_file
from splithorizon.base.errors import UsageProblem

Entry = dict[str, Any]

_FILES = {
    "clusters": ("certificate-authority",),
    "users": ("client-certificate", "client-key", "tokenFile"),
}


def kubectl(file: Path | None, context: str = "") -> str:
    """How a person's command for a cluster begins: kubectl with a file, a context or both, as a shell takes it."""
    chosen = [*(["--kubeconfig", str(file)] if file else []), *(["--context", context] if context else [])]
    return shlex.join(["kubectl", *chosen])


def default_files() -> list[Path]:
    """Where kubectl would look: the files of $KUBECONFIG, or ~/.kube/config."""
    named = [Path(name) for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    return named or [Path.home() / ".kube" / "config"]


def extract(context: str, files: list[Path], target: Path) -> None:
    """Write a kubeconfig (0600) that holds one context and what it needs, whatever file that stands in.

    Of entries of one name the first counts, as for kubectl. Raises UsageProblem where the context, or
    what it names, is in none of the files.
    """
    found = _entry("contexts", context, files)
    chosen = found["context"]
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [found],
        "clusters": [_entry("clusters", chosen["cluster"], files)],
        "users": [_entry("users", chosen["user"], files)],
    }
    private_file.write(target, yaml.safe_dump(content))


def _entry(kind: str, name: str, files: list[Path]) -> Entry:
    for file in files:
        for entry in _entries(kind, file):
            if entry.get("name") == name:
                return _with_whole_paths(kind, entry, file.absolute().parent)
    searched = ", ".join(map(str, files))
    raise UsageProblem(f"--contexts: no {kind[:-1]} named {name!r} in {searched}. Nothing was created.")


def _entries(kind: str, file: Path) -> Iterator[Entry]:
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageProblem(f"kubeconfig {file} cannot be read: {type(error).__name__}. Nothing was created.") from None
    yield from (content or {}).get(kind) or []


def _with_whole_paths(kind: str, entry: Entry, folder: Path) -> Entry:
    """A copy that does not depend on where it is read from."""
    body = dict(entry.get(kind[:-1]) or {})
    for key in _FILES.get(kind, ()):
        if body.get(key):
            body[key] = str(folder / body[key])
    command = (body.get("exec") or {}).get("command", "")
    if "/" in command:
        body["exec"] = {**body["exec"], "command": str(folder / command)}
    return {**entry, kind[:-1]: body}
