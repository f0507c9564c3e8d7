"""The copy of an undo-log entry in a Secret beside its object, by which any machine can undo the change."""

from __future__ import annotations

import base64
import shlex
from datetime import UTC, datetime

from splithorizon.base import commands
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube, Object
from splithorizon.undo import ownership
from splithorizon.undo.change import BACKUP_PREFIX, Change
from splithorizon.undo.ownership import Scope

_ENTRY_KEY = "entry"
_WRITTEN = "splithorizon.io/written"
_ABOUT = "splithorizon.io/about"


def backups(kube: Kube) -> list[Object]:
    """The Secrets in a cluster with entries of any run's undo log, newest first."""
    owned = kube.list("Secret", labels=ownership.SELECTOR)
    secrets = [secret for secret in owned if secret["metadata"]["name"].startswith(BACKUP_PREFIX)]

    def written(secret: Object) -> str:
        return str(secret["metadata"].get("annotations", {}).get(_WRITTEN, ""))

    return sorted(secrets, key=written, reverse=True)


def entry_of(backup: Object) -> Change:
    """The entry in a Secret of ``backups``; raises EnvironmentBroke if there is none."""
    metadata = backup["metadata"]
    try:
        text = base64.b64decode(backup["data"][_ENTRY_KEY]).decode()
    except (KeyError, TypeError, ValueError) as error:
        what = f"Secret {metadata['namespace']}/{metadata['name']} has no entry of an undo log"
        raise EnvironmentBroke(what, seen=type(error).__name__) from None
    return Change.from_json(text)


def secret_of(change: Change, scope: Scope | None) -> Object:
    """The Secret with the entry of a change; its annotations say to a reader what it is for."""
    labels = ownership.labels(change.run)
    restore = shlex.join(commands.sweep(*(scope.contexts if scope else ())))
    about = (
        f"Run {change.run} of splithorizon changes {change}. If the run did not undo that, "
        f"`{restore}` undoes it from any machine, and deletes this Secret."
    )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "splithorizon.io/undo",
        "metadata": {
            "name": change.backup_name,
            "namespace": change.backup,
            "labels": labels,
            "annotations": {_WRITTEN: change.id, "splithorizon.io/time": _now(), _ABOUT: about},
        },
        "data": data_of(change),
    }


def data_of(change: Change) -> Object:
    """The ``data`` of the Secret."""
    return {_ENTRY_KEY: base64.b64encode(change.to_json().encode()).decode()}


def remove(kube: Kube, change: Change) -> None:
    """Delete the Secret of a change, if the change has one."""
    if change.backup:
        kube.delete("Secret", change.backup_name, change.backup)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
