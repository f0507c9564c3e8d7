"""Runs the exec plug-in of a kubeconfig, as kubectl does, and keeps what it returned beside the run's copy.

The plug-in is run once before everything else, at the user's terminal, and again only where its credential expires or
is refused: another run of it might ask for a password.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from splithorizon.base import clock, private_file, process
from splithorizon.base.errors import CommandFailed, UsageProblem
from splithorizon.base.timeouts import current as timeouts

_API = "client.authentication.k8s.io/"
_INFO = "KUBERNETES_EXEC_INFO"
# A credential is replaced a little before its end, as by kubectl.
_BEFORE_THE_END = timedelta(seconds=10)


@dataclass(frozen=True)
class Credential:
    """What a plug-in returned: a token, or a certificate with its key in PEM, and its end if it has one."""

    token: str = ""
    certificate: str = ""
    key: str = ""
    expires: str = ""

    def expired(self, now: datetime) -> bool:
        """Whether it ends about now; false for one without an end."""
        if not self.expires:
            return False
        return now >= datetime.fromisoformat(self.expires.replace("Z", "+00:00")) - _BEFORE_THE_END


def plugin_of(kubeconfig: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The plug-in of the one user of a run's copy; None without one."""
    users = kubeconfig.get("users") or [{}]
    user = users[0].get("user") or {}
    return user.get("exec") if not user.get("token") and not user.get("tokenFile") else None


def authenticate(kubeconfig: Path, context: str) -> None:
    """Run the plug-in of a run's copy at the terminal of this process, and keep its credential; nothing without one.

    Raises UsageProblem with what the plug-in itself says, where it fails.
    """
    content = yaml.safe_load(kubeconfig.read_text())
    if (plugin := plugin_of(content)) is None:
        return
    try:
        _keep(kubeconfig, _run(plugin, content, at_terminal=True))
    except _Failed as failed:
        raise UsageProblem(
            f"context {context}: the plug-in `{plugin.get('command', '')}` of its user gives no credential: {failed}. "
            "Nothing was created."
        ) from None


def renewed(kubeconfig: Path, content: Mapping[str, Any], *, since: Credential | None) -> Credential | None:
    """The credential that is kept beside a copy; the plug-in is run again where that one is ``since``, or has ended.

    Returns the old one where the plug-in fails then: the API server refuses it, and its answer says so.
    """
    known = kept(kubeconfig)
    plugin = plugin_of(content)
    if plugin is None or (known and known != since and not known.expired(clock.now())):
        return known
    try:
        new = _run(plugin, content, at_terminal=False)
    except _Failed:
        return known
    _keep(kubeconfig, new)
    return new


def kept(kubeconfig: Path) -> Credential | None:
    """The credential beside a run's copy; None where none is kept."""
    try:
        return Credential(**json.loads(_beside(kubeconfig).read_text()))
    except FileNotFoundError:
        return None


class _Failed(Exception):
    """The plug-in gave no credential; the message is its own where it has one."""


def _run(plugin: Mapping[str, Any], kubeconfig: Mapping[str, Any], *, at_terminal: bool) -> Credential:
    version, mode = str(plugin.get("apiVersion", "")), plugin.get("interactiveMode") or "IfAvailable"
    interactive = at_terminal and mode != "Never" and sys.__stdin__ is not None and sys.__stdin__.isatty()
    if mode == "Always" and not interactive:
        raise _Failed("it needs a terminal for its input (interactiveMode: Always)")
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = _cluster_info(kubeconfig["clusters"][0].get("cluster") or {})
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    environment = {one["name"]: str(one.get("value", "")) for one in plugin.get("env") or []}
    command = [str(plugin.get("command", "")), *map(str, plugin.get("args") or ())]
    try:
        done = process.run(
            command, within=timeouts().exec_plugin, env={**environment, _INFO: json.dumps(info)}, terminal=interactive
        )
    except CommandFailed as failed:
        hint = str(plugin.get("installHint") or "").strip()
        if failed.status is None and hint and "no such program" in str(failed):
            raise _Failed(f"{failed.what}. {' '.join(hint.split())}") from None
        raise _Failed(f"{failed.what}. {failed.seen}".rstrip(". ")) from None
    return _credential(done.stdout, version)


def _credential(printed: str, version: str) -> Credential:
    try:
        answer = json.loads(printed)
        status = answer.get("status") or {}
        found = Credential(
            str(status.get("token") or ""),
            str(status.get("clientCertificateData") or ""),
            str(status.get("clientKeyData") or ""),
            str(status.get("expirationTimestamp") or ""),
        )
        found.expired(clock.now())
    except (ValueError, AttributeError):
        raise _Failed("what it prints is no ExecCredential in JSON") from None
    if answer.get("apiVersion") != version or not version.startswith(_API):
        raise _Failed(f"it answers as {answer.get('apiVersion')!r}, and the kubeconfig asks for {version!r}")
    if not found.token and not (found.certificate and found.key):
        raise _Failed("its ExecCredential has neither a token nor a certificate with a key")
    return found


def _cluster_info(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """The cluster as a plug-in is given it: certificates by content and not by file."""
    info = {key: cluster[key] for key in ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url",
                                          "certificate-authority-data") if key in cluster}  # fmt: skip
    if file := cluster.get("certificate-authority"):
        info["certificate-authority-data"] = base64.b64encode(Path(file).read_bytes()).decode()
    for one in cluster.get("extensions") or []:
        if one.get("name") == f"{_API}exec":
            info["config"] = one.get("extension")
    return info


def _keep(kubeconfig: Path, credential: Credential) -> None:
    private_file.write(_beside(kubeconfig), json.dumps(asdict(credential)))


def _beside(kubeconfig: Path) -> Path:
    return kubeconfig.with_name(f"{kubeconfig.name}.credential")


def stat_of(file: Path) -> tuple[int, int]:
    """A value that changes when a file is replaced: a kubelet replaces a token before it expires."""
    found = file.stat()
    return found.st_mtime_ns, found.st_ino
