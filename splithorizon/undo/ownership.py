"""Who owns what a run makes in a cluster: the labels that say so, and the run's record of the mesh that it works on."""

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
    """A text as Kubernetes takes it for a label's value: at most 63 letters, digits, dashes, dots, underscores."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:_LABEL_LENGTH].strip("-._")


def name_part(text: str) -> str:
    """A text as Kubernetes takes it within an object's name: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9-]", "-", text.lower())[:_LABEL_LENGTH].strip("-")


def labels(run: str, *, expires: datetime | None = None) -> dict[str, str]:
    """The labels by which anybody finds what a run made, on whatever machine it ran."""
    found = {MANAGED_BY: MANAGER, RUN: label_value(run), HOST: label_value(socket.gethostname())}
    return found | ({EXPIRES: expires.astimezone(UTC).strftime(_TIME)} if expires else {})


def expired(value: str, now: datetime) -> bool:
    """Whether the label ``EXPIRES`` names a moment before ``now``; never for a value that is no such moment."""
    try:
        return datetime.strptime(value, _TIME).replace(tzinfo=UTC) < now
    except ValueError:
        return False


@dataclass(frozen=True)
class ScopeCluster:
    """One cluster of an existing mesh: how the user named it, and its identity (the uid of ``kube-system``).

    ``file`` is the kubeconfig that the command line named; empty where kubectl's own rules found it.
    """

    context: str
    uid: str
    system_namespace: str
    kubectl: str
    file: str = ""


@dataclass(frozen=True)
class Scope:
    """What a run may change: everything in a mesh that it owns, its own namespace alone in an existing one."""

    run: str
    owned: bool
    namespace: str = ""
    clusters: Mapping[str, ScopeCluster] = field(default_factory=dict)
    kubeconfig_variable: str = ""

    @classmethod
    def read(cls, folder: Path) -> Scope | None:
        """Read the record in a run's folder; None where there is none. Raises EnvironmentBroke for half of one."""
        try:
            content = json.loads((folder / _FILE).read_text())
            clusters = {role: ScopeCluster(**one) for role, one in content["clusters"].items()}
            return cls(**{**content, "clusters": clusters})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise EnvironmentBroke(f"{folder / _FILE} cannot be read", seen=type(error).__name__) from None

    def write(self, folder: Path) -> None:
        """Write the record into the run's folder, for its workers and for a later sweep."""
        private_file.write(folder / _FILE, json.dumps(asdict(self)))

    def outside(self, namespace: str | None) -> bool:
        """Whether an object there belongs to somebody else."""
        return not self.owned and namespace != self.namespace

    @property
    def contexts(self) -> tuple[str, ...]:
        """The user's names of the clusters, the primary's first."""
        return tuple(cluster.context for cluster in self.clusters.values())

    @property
    def restore_command(self) -> str:
        """The command, as a shell takes it, that restores what the run could not."""
        if self.owned:
            return shlex.join(commands.sweep())
        named = {role: cluster.file for role, cluster in self.clusters.items() if cluster.file}
        default = self.kubeconfig_variable and len(named) < len(self.clusters)
        words = ["env", f"KUBECONFIG={self.kubeconfig_variable}"] if default else []
        words += commands.sweep(*self.contexts)
        for role, file in named.items():
            # In one word: of two, pytest takes the file for one of its arguments, and looks for its options there.
            words.append(f"--kubeconfig-{role}={file}")
        return shlex.join(words)


def kubeconfig_variable() -> str:
    """$KUBECONFIG with absolute paths; empty where it is not set."""
    files = [name for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    return os.pathsep.join(str(Path(name).absolute()) for name in files)


def run_of(folder: Path) -> str:
    """The id of the run that a folder belongs to."""
    scope = Scope.read(folder)
    return scope.run if scope else folder.name
