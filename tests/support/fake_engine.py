"""A container engine that answers from files."""

from __future__ import annotations

from pathlib import Path

from lab.engine import Engine

# Containers lie in a folder by their label's value, networks by their name; one in use cannot go.
ENGINE = """#!/bin/sh
cd "$(dirname "$0")"
[ ! -e broken ] || { echo no answer >&2; exit 125; }
case "$1 $2" in
  "ps --all") cat "containers/${4##*=}" 2>/dev/null; exit 0;;
  "ps --quiet") cat "containers/${5##*=}" 2>/dev/null; exit 0;;
  "network inspect") [ -e "networks/$3" ];;
  "network ls") name=${5#name=^}; [ ! -e "networks/${name%$}/ours" ] || echo "${name%$}";;
  "volume ls") cat "volumes/${4#*=}" 2>/dev/null; exit 0;;
  "volume rm") rm volumes/*; exit 0;;
  "network rm") rm -r "networks/$3";;
  "images --filter") for name in nodes/*; do printf 'splithorizon.local/node:%s\\t1.07 GB\\n' "${name#*/}"; done;;
  "rmi splithorizon.local/node:"*) [ ! -e "nodes/${2#*:}/used" ] && rm -r "nodes/${2#*:}";;
  *) exit 64;;
esac
"""


def fake_engine(folder: Path) -> Engine:
    """An engine without containers, in a folder that is not there yet."""
    for name in ("containers", "networks", "volumes"):
        (folder / name).mkdir(parents=True)
    program = folder / "podman"
    program.write_text(ENGINE)
    program.chmod(0o755)
    environment = {"KIND_EXPERIMENTAL_PROVIDER": "podman", "CONTAINERS_CONF": "/a folder/conf"}
    return Engine("podman", program, environment, lacks_resource_capability=False)


def has_cluster(engine: Engine, name: str) -> None:
    """Let the engine have the container of a cluster."""
    (engine.command.parent / "containers" / name).write_text(f"{name}-control-plane\n")
