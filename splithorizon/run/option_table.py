"""The options of a run on an existing mesh, as data for pytest's parser, ``splithorizon.toml`` and the command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splithorizon.run.catalogue import EVERYDAY, Profile

EXEMPT = "exempt"


@dataclass(frozen=True)
class Option:
    """One option: its name without dashes, and the type of its value, where ``bool`` takes none."""

    name: str
    help: str
    type: type = str
    default: Any = None
    choices: tuple[str, ...] = ()
    metavar: str = ""
    repeated: bool = False
    in_file: bool = True
    """Whether it may stand in ``splithorizon.toml``."""

    @property
    def flag(self) -> str:
        """As it is typed."""
        return f"--{self.name}"

    def arguments(self, **given: Any) -> dict[str, Any]:
        """What argparse needs to know of it; ``given`` are defaults by name, of a file, that replace its own."""
        default = given.get(self.name, [] if self.repeated else self.default)
        if self.type is bool:
            return {"action": "store_true", "default": bool(default), "help": self.help}
        found: dict[str, Any] = {"type": self.type, "default": default, "help": self.help}
        found |= {"choices": self.choices} if self.choices else {}
        found |= {"metavar": self.metavar} if self.metavar else {}
        return found | ({"action": "append"} if self.repeated else {})

    def parse(self, value: Any) -> Any:
        """A value of ``splithorizon.toml`` as the option has it; raises ValueError for one that it cannot be."""
        accepts: dict[type, tuple[type, ...]] = {Path: (str,), float: (int, float)}
        # To Python a truth is an integer.
        if not isinstance(value, accepts.get(self.type, (self.type,))) or isinstance(value, bool) != (
            self.type is bool
        ):
            raise ValueError(f"{value!r} is no {_TYPES[self.type]}")
        if self.choices and value not in self.choices:
            raise ValueError(f"{value!r} is none of {', '.join(self.choices)}")
        return self.type(value)


_TYPES = {str: "text", bool: "true or false", int: "whole number", float: "number", Path: "path"}

OPTIONS = (
    Option(
        "contexts",
        "check a mesh that is there: two contexts or more in any order, or env for $CTX_CLUSTER1 and $CTX_CLUSTER2",
        metavar="A,B[,C]",
    ),
    Option("kubeconfig-primary", "the file that has the first of --contexts", Path),
    Option("kubeconfig-remote", "the file that has the second of --contexts", Path),
    Option(
        "istiod-context",
        "a cluster that runs istiod and no workload of the mesh (an external control plane): istiod is read there",
        default="",
        metavar="NAME",
    ),
    Option("revision", "which of several istiods --contexts is about; or a revision tag", default=""),
    Option(
        "profile",
        f"which of {', '.join(Profile)} is claimed, or all (default: what -m names, else {','.join(EVERYDAY)})",
        metavar="NAMES",
    ),
    Option(
        EXEMPT,
        "leave a behaviour out, by its module's name; the report says why, and the verdict is partial",
        metavar="NAME=REASON",
        repeated=True,
    ),
    Option(
        "allow-disruption",
        "with --contexts and --profile all, also run checks that take parts of the mesh away and give them back",
        bool,
    ),
    Option("sample-hub", "registry path of the helloworld and curl images"),
    Option(
        "image",
        "where the pods get an image from: helloworld-v1, helloworld-v2, curl, sender; a digest is taken too",
        metavar="NAME=REF",
        repeated=True,
    ),
    Option(
        "pull-secret",
        "a Secret of each cluster by which the pods' images are pulled; it is copied",
        default="",
        metavar="NS/NAME",
    ),
    Option(
        "namespace",
        "run in this namespace, which is there in every cluster; the run creates and deletes its own objects alone",
        default="",
        metavar="EXISTING",
    ),
    Option("namespace-label", "a label that the run's namespaces get", metavar="KEY=VALUE", repeated=True),
    Option("overlay", "a strategic merge patch (YAML) for the run's pods: metadata and spec", Path, metavar="FILE"),
    Option(
        "dry-run",
        "with --contexts print what would be created, changed, read and claimed, how long it takes, and stop",
        bool,
        in_file=False,
    ),
    Option("requests", "requests per client in a traffic sample (default 1000)", int, 1000),
    Option("timeout-scale", "multiply every deadline by this", float, 1.0),
    Option(
        "baseline",
        "compare at the end with this report: report.json, a run's folder, a folder of them, or a pattern in quotes",
        metavar="REPORT",
    ),
    Option(
        "diagnostics",
        "collect objects, logs and proxies' state: for the first five behaviours that fail, or at the end as well",
        default="failure",
        choices=("never", "failure", "always"),
    ),
    Option("pause-on-fail", "at a failure print how to look at the mesh, and wait for Enter", bool, in_file=False),
    Option(
        "watch",
        "before the checks send steadily on every route, until Ctrl-C or --for, while somebody changes the mesh",
        bool,
        in_file=False,
    ),
    Option("for", "how long --watch lasts: seconds, or with s, m or h", default="", metavar="TIME", in_file=False),
    Option("rate", "requests a second on each route of --watch (default 20)", int, 20),
    Option(
        "budget",
        "what each route of --watch may lose: lost=N or N%%, outage=Ns, wrong=Ns, cuts=N (default: nothing)",
        default="",
        metavar="LIMITS",
    ),
    Option("metrics", "write the outcome to this file too, for Prometheus's textfile collector (*.prom)", Path),
    Option("json", "print report.json as well: in one line, the last of the output", bool),
    Option("report-dir", "where run folders go (default reports/)", Path),
    Option(
        "sweep",
        "remove what dead runs left, show the cache, and stop; with --contexts restore what runs left in a mesh",
        bool,
        in_file=False,
    ),
    Option(
        "expired",
        "with --sweep --contexts remove nothing but the namespaces of runs that have expired; only namespaces are read",
        bool,
        in_file=False,
    ),
)
# pytest-kind declares these too, under their names, where its plug-in is active.
KEEP_CLUSTER = Option(
    "keep-cluster", "keep what the run makes: its namespaces in an existing mesh, or its clusters", bool
)
KUBECONFIG = Option("kubeconfig", "the file that has the contexts of --contexts (default: as kubectl's)", Path)
