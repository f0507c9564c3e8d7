"""A program that stands for podman: it keeps networks and containers as files, and records how it was called.

A real engine is used in ``tests/engine``, which needs root.
"""

from __future__ import annotations

from pathlib import Path

from lab.engine import Engine, Provider

# A container's file holds the name of its network. Filters of `ps` and `network ls` are read from their last words.
_PROGRAM = """#!/bin/sh
state=$(dirname "$0")
echo "$@" >>"$state/calls"
for last; do :; done
case "$1 $2" in
  "network create")
    if [ -e "$state/ipv4-only" ] && echo "$@" | grep -q -e --ipv6; then echo "Error: no IPv6" >&2; exit 125; fi
    [ ! -e "$state/created-meanwhile" ] || echo others >"$state/networks/$last"
    if [ -e "$state/networks/$last" ]; then echo "Error: network $last already exists" >&2; exit 125; fi
    echo "$@" | grep -q -e "--label" && echo ours >"$state/networks/$last" || echo others >"$state/networks/$last" ;;
  "network rm") rm "$state/networks/$last" ;;
  "network ls")
    name=${5#name=^}; name=${name%$}; label=${7:+ours}
    ! grep -qs "$label" "$state/networks/$name" || echo "$name" ;;
  "ps --quiet") grep -lxs "${last#network=}" "$state"/containers/* || true ;;
  "ps --all") ls "$state/containers" ;;
  "volume ls") ls "$state/volumes" ;;
  "volume rm") rm "$state/volumes/$last" ;;
  "stop -t") test -e "$state/containers/$last" ;;
  "rm --force") rm "$state/containers/$last" ;;
  *) echo "Error: unknown command $1" >&2; exit 125 ;;
esac
"""


class FakePodman:
    """The program, its state, and an ``Engine`` that calls it."""

    def __init__(self, folder: Path, provider: Provider = "podman") -> None:
        """Create the program with no network, container or volume."""
        for kind in ("networks", "containers", "volumes"):
            (folder / kind).mkdir(parents=True)
        program = folder / provider
        program.write_text(_PROGRAM)
        program.chmod(0o755)
        self._folder = folder
        self.engine = Engine(provider, program, {}, lacks_resource_capability=False)

    @property
    def calls(self) -> list[str]:
        """The arguments of each call, in order."""
        file = self._folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def names(self, kind: str) -> set[str]:
        """The networks, containers or volumes that exist."""
        return {path.name for path in (self._folder / kind).iterdir()}

    def start(self, container: str, network: str = "") -> None:
        """Let a container exist, on a network."""
        (self._folder / "containers" / container).write_text(f"{network}\n")

    def add_volume(self, name: str) -> None:
        """Let a volume exist."""
        (self._folder / "volumes" / name).touch()

    def has_no_ipv6(self) -> None:
        """Let every later network with IPv6 be refused."""
        (self._folder / "ipv4-only").touch()

    def another_creates_it_meanwhile(self) -> None:
        """Let every network be created by another process just before it is created here."""
        (self._folder / "created-meanwhile").touch()
