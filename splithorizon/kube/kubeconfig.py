"""Copies one context of the user's kubeconfig into a file of the run; the user's files are never changed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from splithorizon.base import private_file
from splithorizon.base.addresses import host_port
from splithorizon.base.errors import UsageProblem

Entry = dict[str, Any]

IN_CLUSTER = "in-cluster"
"""The name of the cluster that this process runs in a pod of, where no context has it."""
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PROXIES = ("http", "socks5", "socks5h")

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

    If two entries have the same name, the first one is used, as by kubectl. ``IN_CLUSTER`` is the pod's own cluster and
    account. Raises UsageProblem if the context, the cluster or the user is in none of the files, or cannot be used.
    """
    if context == IN_CLUSTER and not _has("contexts", context, files):
        private_file.write(target, yaml.safe_dump(_in_cluster()))
        return
    entry = _entry("contexts", context, files)
    names = entry.get("context") or {}
    cluster = _entry("clusters", str(names.get("cluster", "")), files)
    _check_proxy(context, cluster)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [entry],
        "clusters": [cluster],
        "users": [_with_token(context, _entry("users", names["user"], files))] if names.get("user") else [],
    }
    private_file.write(target, yaml.safe_dump(content))


def _in_cluster() -> Entry:
    """A kubeconfig of the pod's own account; its token stays in the file that the kubelet replaces."""
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    token, authority = _SERVICE_ACCOUNT / "token", _SERVICE_ACCOUNT / "ca.crt"
    if not host or not port or not token.exists():
        raise UsageProblem(
            f"--contexts {IN_CLUSTER}: this process runs in no pod with a service account, and no context has that "
            "name. Nothing was created."
        )
    server = f"https://{host_port(host, port)}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": IN_CLUSTER,
        "contexts": [{"name": IN_CLUSTER, "context": {"cluster": IN_CLUSTER, "user": IN_CLUSTER}}],
        "clusters": [{"name": IN_CLUSTER, "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": IN_CLUSTER, "user": {"tokenFile": str(token)}}],
    }


def _check_proxy(context: str, cluster: Entry) -> None:
    proxy = str((cluster.get("cluster") or {}).get("proxy-url") or "")
    if proxy and urlsplit(proxy).scheme not in _PROXIES:
        raise UsageProblem(
            f"context {context}: proxy-url {proxy}: only proxies of {', '.join(_PROXIES)} can be used. "
            "Nothing was created."
        )


def _with_token(context: str, entry: Entry) -> Entry:
    """A user with the id token of its auth-provider in place of it.

    The provider is never asked for a new token: where that also replaces the refresh token, as many providers do, the
    one in the user's own file would be spent.
    """
    user = dict(entry.get("user") or {})
    provider = user.pop("auth-provider", None)
    if provider is None:
        return entry
    name, settings = provider.get("name", ""), provider.get("config") or {}
    if name != "oidc" or not settings.get("id-token"):
        raise UsageProblem(
            f"context {context}: its user has the auth-provider {name!r}, which kubectl dropped with 1.26 or which has "
            "no id-token: use an exec plug-in instead. Nothing was created."
        )
    return {**entry, "user": {**user, "token": settings["id-token"]}}


def _has(kind: str, name: str, files: list[Path]) -> bool:
    return any(entry.get("name") == name for file in files for entry in _entries(kind, file))


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
