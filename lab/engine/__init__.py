"""The container engine that kind drives: docker or podman, through one set of verbs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from splithorizon.base import process
from splithorizon.base.errors import CommandFailed, EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually

Provider = Literal["docker", "podman"]

_OURS = "splithorizon.network=made"


@dataclass(frozen=True)
class Engine:
    """One engine that was seen to run a privileged container; every call raises CommandFailed."""

    provider: Provider
    command: Path
    environment: Mapping[str, str]
    """What every child that talks to the engine, kind included, needs beside the caller's own."""
    lacks_resource_capability: bool
    """Whether a privileged container lacks CAP_SYS_RESOURCE, which the kubelet must be told."""

    def to_json(self) -> str:
        """All that another process needs to reach the same engine."""
        return json.dumps(asdict(self) | {"command": str(self.command), "environment": dict(self.environment)})

    @classmethod
    def from_json(cls, text: str) -> Engine:
        """Read what ``to_json`` wrote."""
        found = json.loads(text)
        return cls(**found | {"command": Path(found["command"])})

    @property
    def network(self) -> str:
        """The name of the network that kind puts its nodes on."""
        return os.environ.get(f"KIND_EXPERIMENTAL_{self.provider.upper()}_NETWORK") or "kind"

    def run(
        self,
        *arguments: str,
        within: float,
        stdin: str | bytes | None = None,
        check: bool = True,
        log: Path | None = None,
    ) -> process.Completed:
        """Run one command of the engine, for at most `within` seconds."""
        command = [str(self.command), *arguments]
        return process.run(command, within=within, stdin=stdin, env=self.environment, log=log, check=check)

    def has_image(self, reference: str) -> bool:
        """Whether the image is in the engine's own store."""
        return self._small("image", "inspect", reference, check=False).status == 0

    def image_id(self, reference: str) -> str:
        """The id of an image, which it keeps when another takes its name; empty where there is none."""
        found = self._small("image", "inspect", "--format", "{{.Id}}", reference, check=False)
        return found.stdout.strip() if found.status == 0 else ""

    def images(self, repository: str) -> list[tuple[str, str]]:
        """The name and the size, as the engine writes it, of every image of a repository."""
        only = ["--filter", f"reference={repository}"]
        listed = self._small("images", *only, "--format", "{{.Repository}}:{{.Tag}}\t{{.Size}}").stdout
        return [(name, size) for name, _, size in (line.partition("\t") for line in listed.splitlines())]

    def remove_image(self, reference: str) -> bool:
        """Remove an image by name or id; one that a container uses stays. Tells whether it went."""
        return self.run("rmi", reference, within=timeouts().image_step, check=False).status == 0

    def label_of(self, image: str, label: str) -> str | None:
        """The value of an image's label, None where it carries none of that name."""
        labels = json.loads(self._small("image", "inspect", "--format", "{{json .Config.Labels}}", image).stdout)
        value = (labels or {}).get(label)
        return None if value is None else str(value)

    def load(self, archive: Path) -> None:
        """Take every image of a tar into the store."""
        self._image("load", "--input", str(archive))

    def save(self, references: Sequence[str], archive: Path) -> None:
        """Write the images, with their names, into one tar that `load` and containerd both take."""
        # podman refuses to write where a file lies, and takes several images only when told to.
        archive.unlink(missing_ok=True)
        several = ["--multi-image-archive"] if self.provider == "podman" else []
        self._image("save", *several, "--output", str(archive), *references)

    def build(
        self,
        context: Path,
        file: Path,
        tag: str,
        build_args: Mapping[str, str],
        *,
        log: Path | None = None,
    ) -> None:
        """Build an image from a folder; nothing in it may come from a network."""
        arguments = [f"--build-arg={name}={value}" for name, value in build_args.items()]
        # podman's own isolation needs more privilege than a bounded machine gives, and chroot knows
        # no network but the host's; with layers it would leave an unnamed image for every step.
        # docker takes either builder: the old one, the only one of Debian's 20.10, or buildx.
        podman = ["--isolation=chroot", "--network=host", "--layers=false"]
        only = podman if self.provider == "podman" else ["--network=none"]
        self._image("build", *only, *arguments, "--file", str(file), "--tag", tag, str(context), log=log)

    def tag(self, source: str, target: str) -> None:
        """Give an image a second name."""
        self._small("tag", source, target)

    def pull(self, reference: str, *, insecure: bool = False) -> str:
        """Fetch an image and return its name in the store; `insecure` allows plain HTTP, as docker does on loopback.

        docker knows where an image is whose name has no registry, as Istio's have none. podman asks there too, but
        only where it is told to take the name as docker does, and then keeps it with the registry's name.
        """
        transport, asked = "", reference
        if self.provider == "podman" and not names_a_registry(reference):
            repository, _, fingerprint = reference.partition("@")
            # podman takes a tag or a fingerprint, not both.
            asked = f"{repository.partition(':')[0]}@{fingerprint}" if fingerprint else reference
            transport = "docker://"
        self._image("pull", *self._plain_http(insecure), f"{transport}{asked}", within=timeouts().image_pulled)
        if not transport:
            return reference
        field = "{{json .RepoDigests}}" if "@" in asked else "{{json .RepoTags}}"
        names: list[str] = json.loads(self._small("image", "inspect", "--format", field, asked).stdout)
        return next(name for name in names if name.endswith(f"/{asked}"))

    def is_published(self, reference: str, *, insecure: bool, within: float) -> bool:
        """Whether a registry has the image; nothing is fetched."""
        if self.provider == "podman":
            # Its `manifest inspect` knows no plain HTTP; listing a repository's tags does.
            repository, _, _ = reference.rpartition(":")
            asked = ["search", "--list-tags", "--limit", "1", *self._plain_http(insecure), repository]
        else:
            asked = ["manifest", "inspect", *(["--insecure"] if insecure else []), reference]
        return self.run(*asked, within=within, check=False).status == 0

    def address_of(self, container: str) -> str:
        """The container's IPv4 address on kind's network, where the nodes reach one another."""
        networks = json.loads(
            self._small("inspect", "--format", "{{json .NetworkSettings.Networks}}", container).stdout
        )
        address = ((networks or {}).get(self.network) or {}).get("IPAddress")
        if not address:
            raise EnvironmentBroke(
                f"container {container} has no address on the network {self.network!r}",
                seen=f"networks: {', '.join(networks or {}) or 'none'}",
                next_command=f"{self.provider} inspect {container}",
            )
        return str(address)

    def execute(self, container: str, *argv: str, within: float, stdin: str | bytes | None = None) -> process.Completed:
        """Run a command in a running container."""
        interactive = [] if stdin is None else ["--interactive"]
        return self.run("exec", *interactive, container, *argv, within=within, stdin=stdin)

    def containers(self, label: str | None = None) -> list[str]:
        """The names of all containers, running or not, with that label (`name` or `name=value`)."""
        only = [] if label is None else ["--filter", f"label={label}"]
        return self._small("ps", "--all", *only, "--format", "{{.Names}}").stdout.split()

    def volumes(self, label: str | None = None) -> list[str]:
        """The names of all volumes, with that label where one is given."""
        only = [] if label is None else ["--filter", f"label={label}"]
        return self._small("volume", "ls", *only, "--format", "{{.Name}}").stdout.split()

    def remove_container(self, name: str) -> None:
        """Stop a container at once and remove it with its volumes; fine where there is none.

        kind makes a podman node's volume before the node, with the node's name for a label and half a
        gigabyte in it soon; no engine counts it among the container's own.
        """
        if name in self.containers():
            # podman would wait ten seconds for it to end by itself; after a mere kill too, where it looks too soon.
            self._small("stop", "-t", "0", name, check=False)
            self._small("rm", "--force", "--volumes", name)
        if volumes := self.volumes(label=name):
            self._small("volume", "rm", "--force", *volumes)

    def has_network(self, name: str) -> bool:
        """Whether the engine has a network of that name."""
        return self._small("network", "inspect", name, check=False).status == 0

    def make_network(self, name: str) -> None:
        """Make a network for nodes with both families, as kind does, or with IPv4 alone; fine where there is one."""
        if self.has_network(name):
            return
        create = ["network", "create", "--driver", "bridge", "--label", _OURS]
        both_families = ["--ipv6", "--subnet", _local_range(name)]
        # Refused as well where another makes it at this moment: with docker it has its name before it can be seen.
        for asked in ([*create, *both_families, name], [*create, name]):
            done = self._small(*asked, check=False)
            if not done.status or self.has_network(name):
                return
            if "exists" in done.stderr:
                self._await_network(name)
                return
        raise CommandFailed(done.argv, done.status, done.stdout, done.stderr)

    def _await_network(self, name: str) -> None:
        def look() -> None:
            if not self.has_network(name):
                raise NotYet("its name is taken, and it cannot be seen")

        eventually(f"the network {name} is there", look, within=timeouts().engine_network_unlocked)

    def remove_network(self, name: str) -> None:
        """Remove a network that we made and no container is on, running or not; fine where there is none."""
        if not self._small(
            "network", "ls", "--quiet", "--filter", f"name=^{name}$", "--filter", f"label={_OURS}"
        ).stdout:
            return
        if not self._small("ps", "--quiet", "--all", "--filter", f"network={name}").stdout:
            self._small("network", "rm", name, check=False)

    def _small(self, *arguments: str, check: bool = True) -> process.Completed:
        return self.run(*arguments, within=timeouts().small_command, check=check)

    def _image(self, *arguments: str, within: float | None = None, log: Path | None = None) -> None:
        self.run(*arguments, within=within or timeouts().image_step, log=log)

    def _plain_http(self, insecure: bool) -> list[str]:
        return ["--tls-verify=false"] if insecure and self.provider == "podman" else []


def _local_range(name: str) -> str:
    """An IPv6 range that nobody routes (RFC 4193), of a name's own."""
    digits = hashlib.sha256(name.encode()).hexdigest()
    return f"fd{digits[:2]}:{digits[2:6]}:{digits[6:10]}:{digits[10:14]}::/64"


def names_a_registry(reference: str) -> bool:
    """Whether an image's name begins with a registry's, by the rule that docker made: a dot, a port, or localhost."""
    first, slash, _ = reference.partition("/")
    return bool(slash) and (first == "localhost" or "." in first or ":" in first)
