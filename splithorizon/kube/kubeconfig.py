"""Copies one context of the user's kubeconfig into a file of the run; the user's files are never changed."""

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
    """The ``kubectl`` command for a cluster, with a kubeconfig, a context or both, quoted for a shell."""
    options = [*(["--kubeconfig", str(file)] if file else []), *(["--context", context] if context else [])]
    return shlex.join(["kubectl", *options])


def default_files() -> list[Path]:
    """The kubeconfig files of kubectl: those of $KUBECONFIG, or else ~/.kube/config."""
    named = [Path(name) for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    return named or [Path.home() / ".kube" / "config"]


def extract(context: str, files: list[Path], target: Path) -> None:
    """Write a kubeconfig (0600) with one context, its cluster and its user, each from any of the files.

    If two entries have the same name, the first one is used, as by kubectl. Raises UsageProblem if the context, the
    cluster or the user is in none of the files.
    """
    entry = _entry("contexts", context, files)
    names = entry["context"]
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [entry],
        "clusters": [_entry("clusters", names["cluster"], files)],
        "users": [_entry("users", names["user"], files)],
    }
    private_file.write(target, yaml.safe_dump(content))


def _entry(kind: str, name: str, files: list[Path]) -> Entry:
    for file in files:
        for entry in _entries(kind, file):
            if entry.get("name") == name:
                return _with_absolute_paths(kind, entry, file.absolute().parent)
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


def _with_absolute_paths(kind: str, entry: Entry, folder: Path) -> Entry:
    """A copy of an entry in which the paths of files and of an exec plug-in are absolute."""
    body = dict(entry.get(kind[:-1]) or {})
    for key in _FILES.get(kind, ()):
        if body.get(key):
            body[key] = str(folder / body[key])
    command = (body.get("exec") or {}).get("command", "")
    if "/" in command:
        body["exec"] = {**body["exec"], "command": str(folder / command)}
    return {**entry, kind[:-1]: body}
