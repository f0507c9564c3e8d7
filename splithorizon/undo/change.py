"""One change of one object, with all that its undo needs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Object
from splithorizon.undo import ownership

BACKUP_PREFIX = "splithorizon-undo-"


class Action(StrEnum):
    """The kind of a change."""

    PATCH = "patch"
    PATCH_STATUS = "patch status"
    DELETE = "delete"
    CREATE = "create"


@dataclass(frozen=True)
class Change:
    """One change of one object, and everything that its undo needs.

    ``before`` has the values of the changed fields before the change, with None for a missing field. For a deleted
    object it has all fields. ``left`` has the possible states of these fields after the change: several while the
    answer to a request is not known. ``settled`` says whether ``left`` is the state that the API server returned.
    ``uid`` is that of the object, or empty for an object whose creation was not answered. ``backup`` is the namespace
    of the Secret with a copy of the entry, or empty.
    """

    id: str
    run: str
    cluster: str
    action: Action
    kind: str
    name: str
    namespace: str | None
    before: Object | None
    left: list[Object]
    uid: str = ""
    settled: bool = False
    owned: bool = False
    backup: str = ""
    kubeconfig: str = ""
    kubectl: str = ""

    def __str__(self) -> str:
        """Kind, namespace and name of the object, and its cluster."""
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name} of the {self.cluster}"

    @property
    def target(self) -> tuple[str, str, str | None, str]:
        """The identity of the object, to find other changes of it."""
        return self.cluster, self.kind, self.namespace, self.name

    @property
    def backup_name(self) -> str:
        """The name of the Secret with the copy of the entry."""
        return f"{BACKUP_PREFIX}{ownership.name_part(self.run)}-{self.id}"

    def to_json(self) -> str:
        """The entry as it is stored in the run's folder and in the Secret."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Change:
        """Parse the result of ``to_json``; raises EnvironmentBroke for anything else."""
        try:
            content = json.loads(text)
            # An entry that an older version has left in a mesh names the cluster by its role.
            if "role" in content:
                content["cluster"] = content.pop("role")
            return cls(**{**content, "action": Action(content["action"])})
        except (ValueError, TypeError, KeyError) as error:
            raise EnvironmentBroke("an entry of the undo log cannot be read", seen=type(error).__name__) from None
