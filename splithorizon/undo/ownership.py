"""Ownership of objects: the labels of the objects that a run creates, and the record of what a run may change."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from splithorizon.base import commands, private_file
from splithorizon.base.errors import EnvironmentBroke

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "splithorizon"
RUN = "splithorizon.io/run"
HOST = "splithorizon.io/host"
EXPIRES = "splithorizon.io/expires"
SELECTOR = f"{MANAGED_BY}={MANAGER}"

_FILE = "scope.json"
_TIME = "%Y%m%dT%H%M%SZ"
_LABEL_LENGTH = 63


def label_value(text: str) -> str:
    """Convert a text to a valid label value: at most 63 letters, digits, dashes, dots and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:_LABEL_LENGTH].strip("-._")


def name_part(text: str) -> str:
    """Convert a text to a valid part of an object's name: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9-]", "-", text.lower())[:_LABEL_LENGTH].strip("-")


def labels(run: str, *, expires: datetime | None = None) -> dict[str, str]:
    """The labels of every object that a run creates, which identify the run from any machine."""
    common = {MANAGED_BY: MANAGER, RUN: label_value(run), HOST: label_value(socket.gethostname())}
    return common | ({EXPIRES: expires.astimezone(UTC).strftime(_TIME)} if expires else {})


def expired(value: str, now: datetime) -> bool:
    """Whether the value of the label ``EXPIRES`` is a time before ``now``; false for a value that is not a time."""
    try:
        return datetime.strptime(value, _TIME).replace(tzinfo=UTC) < now
    except ValueError:
        return False


@dataclass(frozen=True)
class ScopeCluster:
    """One cluster of an existing mesh: the context that the user named, and the uid of ``kube-system`` as its identity.

    ``kubectl`` is the command for the cluster in messages. ``file`` is the kubeconfig of the command line; empty if
    kubectl's default files were used.
    """

    context: str
    uid: str
    system_namespace: str
    kubectl: str
    file: str = ""


@dataclass(frozen=True)
class Scope:
    """What a run may change without the Lease: all of a mesh that it owns, or only its namespace in another mesh.

    ``labels`` are those of each object of the run in a namespace that was there before it; empty if the namespace is
    the run's own, and goes with all that is in it.
    """

    run: str
    owned: bool
    namespace: str = ""
    clusters: Mapping[str, ScopeCluster] = field(default_factory=dict)
    kubeconfig_variable: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Scope | None:
        """Read the record in a run's folder; None if it does not exist. Raises EnvironmentBroke if it is invalid."""
        try:
            content = json.loads((folder / _FILE).read_text())
            clusters = {name: ScopeCluster(**fields) for name, fields in content["clusters"].items()}
            return cls(**{**content, "clusters": clusters})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise EnvironmentBroke(f"{folder / _FILE} cannot be read", seen=type(error).__name__) from None

    def write(self, folder: Path) -> None:
        """Write the record into the run's folder, for its xdist workers and for a later sweep."""
        private_file.write(folder / _FILE, json.dumps(asdict(self)))

    def outside(self, namespace: str | None) -> bool:
        """Whether objects of this namespace belong to the user, and not to the run."""
        return not self.owned and namespace != self.namespace

    def labels_in(self, namespace: str | None) -> Mapping[str, str]:
        """The labels of a new object in a namespace that was there before the run; empty for other namespaces."""
        return self.labels if namespace == self.namespace else {}

    @property
    def contexts(self) -> tuple[str, ...]:
        """The contexts of the clusters as the user named them, the primary's first."""
        return tuple(cluster.context for cluster in self.clusters.values())

    @property
    def restore_command(self) -> str:
        """The shell command that restores what the run could not restore."""
        return self._sweep()

    @property
    def removal_command(self) -> str:
        """The shell command that removes the run's objects from the namespace that was there before it, only these."""
        return self._sweep(f"--namespace={self.namespace}")

    def _sweep(self, *more: str) -> str:
        if self.owned:
            return shlex.join(commands.sweep())
        files = [cluster.file for cluster in self.clusters.values()]
        default = self.kubeconfig_variable and not all(files)
        words = ["env", f"KUBECONFIG={self.kubeconfig_variable}"] if default else []
        words += commands.sweep(*self.contexts)
        options = ("--kubeconfig-primary", "--kubeconfig-remote")
        # One word: in two words, pytest would treat the file as a test path before it knows the option.
        words += [f"{option}={file}" for option, file in zip(options, files, strict=False) if file]
        return shlex.join([*words, *more])


def kubeconfig_variable() -> str:
    """$KUBECONFIG with absolute paths; empty if it is not set."""
    files = [name for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    return os.pathsep.join(str(Path(name).absolute()) for name in files)


def run_of(folder: Path) -> str:
    """The id of the run to which a folder belongs."""
    scope = Scope.read(folder)
    return scope.run if scope else folder.name
