"""The container engine that runs kind's nodes: docker or podman behind one interface."""

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
from splithorizon.base.file_lock import exclusive
from splithorizon.base.timeouts import current as timeouts

Provider = Literal["docker", "podman"]

_NETWORK_LABEL = "splithorizon.network=made"


@dataclass(frozen=True)
class Engine:
    """A container engine and the environment that reaches it. Every method raises CommandFailed if a command fails."""

    provider: Provider
    command: Path
    environment: Mapping[str, str]
    """Variables that any process needs to reach the engine, kind included, besides the caller's environment."""
    lacks_resource_capability: bool
    """Whether a privileged container lacks CAP_SYS_RESOURCE. The kubelet then needs another configuration."""

    def to_json(self) -> str:
        """Serialize everything that another process needs to reach the same engine."""
        return json.dumps(asdict(self) | {"command": str(self.command), "environment": dict(self.environment)})

    @classmethod
    def from_json(cls, text: str) -> Engine:
        """Read the text that ``to_json`` returned."""
        fields = json.loads(text)
        return cls(**fields | {"command": Path(fields["command"])})

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
        """Run a command of the engine for at most ``within`` seconds."""
        command = [str(self.command), *arguments]
        return process.run(command, within=within, stdin=stdin, env=self.environment, log=log, check=check)

    def has_image(self, reference: str) -> bool:
        """Whether the image is in the engine's local store."""
        return self._small("image", "inspect", reference, check=False).status == 0

    def image_id(self, reference: str) -> str:
        """The id of an image, which stays when another image takes its name; empty if there is no such image."""
        inspected = self._small("image", "inspect", "--format", "{{.Id}}", reference, check=False)
        return inspected.stdout.strip() if inspected.status == 0 else ""

    def images(self, repository: str) -> list[tuple[str, str]]:
        """The name and the size, as the engine prints it, of every image of a repository."""
        filters = ["--filter", f"reference={repository}"]
        listed = self._small("images", *filters, "--format", "{{.Repository}}:{{.Tag}}\t{{.Size}}").stdout
        return [(name, size) for name, _, size in (line.partition("\t") for line in listed.splitlines())]

    def remove_image(self, reference: str) -> bool:
        """Remove an image by name or id, unless a container uses it. Return whether it was removed."""
        return self.run("rmi", reference, within=timeouts().image_step, check=False).status == 0

    def label_of(self, image: str, label: str) -> str | None:
        """The value of an image's label, or None if the image has no such label."""
        labels = json.loads(self._small("image", "inspect", "--format", "{{json .Config.Labels}}", image).stdout)
        value = (labels or {}).get(label)
        return None if value is None else str(value)

    def load(self, archive: Path) -> None:
        """Load every image of a tar into the store."""
        self._image("load", "--input", str(archive))

    def save(self, references: Sequence[str], archive: Path) -> None:
        """Save the images with their names into one tar that ``load`` and containerd both read."""
        # podman does not overwrite a file, and saves several images only with this flag.
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
        """Build an image from a folder, without access to a network."""
        arguments = [f"--build-arg={name}={value}" for name, value in build_args.items()]
        # podman's default isolation needs privileges that a restricted machine does not have, and isolation by chroot
        # supports the host's network only. With layers, podman would leave an unnamed image for every step.
        # docker uses either builder: the legacy one, which is all that Debian's 20.10 has, or buildx.
        podman = ["--isolation=chroot", "--network=host", "--layers=false"]
        flags = podman if self.provider == "podman" else ["--network=none"]
        self._image("build", *flags, *arguments, "--file", str(file), "--tag", tag, str(context), log=log)

    def tag(self, source: str, target: str) -> None:
        """Give an image a second name."""
        self._small("tag", source, target)

    def pull(self, reference: str, *, insecure: bool = False) -> str:
        """Pull an image and return its name in the store; ``insecure`` allows plain HTTP, as docker does on loopback.

        Names of Istio's images have no registry. docker has a default registry for them. podman uses the same registry
        if the name is given with the transport ``docker://``, and then stores the image under a name with the registry.
        """
        transport, pulled = "", reference
        if self.provider == "podman" and not names_a_registry(reference):
            repository, _, digest = reference.partition("@")
            # podman accepts a tag or a digest, not both.
            pulled = f"{repository.partition(':')[0]}@{digest}" if digest else reference
            transport = "docker://"
        self._image("pull", *self._plain_http(insecure), f"{transport}{pulled}", within=timeouts().image_pulled)
        if not transport:
            return reference
        field = "{{json .RepoDigests}}" if "@" in pulled else "{{json .RepoTags}}"
        names: list[str] = json.loads(self._small("image", "inspect", "--format", field, pulled).stdout)
        return next(name for name in names if name.endswith(f"/{pulled}"))

    def is_published(self, reference: str, *, insecure: bool, within: float) -> bool:
        """Whether a registry has the image; nothing is pulled."""
        if self.provider == "podman":
            # podman's `manifest inspect` does not support plain HTTP, listing a repository's tags does.
            repository, _, _ = reference.rpartition(":")
            command = ["search", "--list-tags", "--limit", "1", *self._plain_http(insecure), repository]
        else:
            command = ["manifest", "inspect", *(["--insecure"] if insecure else []), reference]
        return self.run(*command, within=within, check=False).status == 0

    def address_of(self, container: str) -> str:
        """The container's IPv4 address on kind's network, over which the nodes reach each other.

        Raises EnvironmentBroke if the container has none.
        """
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
        """The names of all containers, running or not, with that label (``name`` or ``name=value``) if one is given."""
        filters = [] if label is None else ["--filter", f"label={label}"]
        return self._small("ps", "--all", *filters, "--format", "{{.Names}}").stdout.split()

    def volumes(self, label: str | None = None) -> list[str]:
        """The names of all volumes, with that label if one is given."""
        filters = [] if label is None else ["--filter", f"label={label}"]
        return self._small("volume", "ls", *filters, "--format", "{{.Name}}").stdout.split()

    def remove_container(self, name: str) -> None:
        """Stop a container immediately and remove it with its volumes. It is no error if there is none.

        With podman, kind creates a named volume before the node, labelled with the node's name. It soon holds half a
        gigabyte, and removing the container does not remove it.
        """
        if name in self.containers():
            # podman's `rm --force` waits up to ten seconds for a running container, even shortly after `kill`.
            self._small("stop", "-t", "0", name, check=False)
            self._small("rm", "--force", "--volumes", name)
        if volumes := self.volumes(label=name):
            self._small("volume", "rm", "--force", *volumes)

    def has_network(self, name: str) -> bool:
        """Whether the engine has a network of that name."""
        return bool(self._networks(name))

    def make_network(self, name: str) -> None:
        """Create a network for nodes, dual-stack as kind does or else with IPv4 only, unless it exists.

        One process at a time creates networks: docker makes several of one name when asked at the same time, and then
        starts no container on any of them.
        """
        if self.has_network(name):
            return
        with exclusive(
            self.command.parent,
            claim=f"no other run is creating a network with {self.command.name}",
            busy="another run is creating one",
            within=timeouts().engine_network_unlocked,
        ):
            if not self.has_network(name):
                self._create_network(name)

    def remove_network(self, name: str) -> None:
        """Remove every network of that name that ``make_network`` created, unless a container uses it, running or not.

        Several can have the name: a program that is not ours may have had docker create one at the same time.
        """
        ours = self._networks(name, "--filter", f"label={_NETWORK_LABEL}")
        if ours and not self._small("ps", "--quiet", "--all", "--filter", f"network={name}").stdout:
            self._small("network", "rm", *ours, check=False)

    def _create_network(self, name: str) -> None:
        create = ["network", "create", "--driver", "bridge", "--label", _NETWORK_LABEL]
        dual_stack = ["--ipv6", "--subnet", _unique_local_subnet(name)]
        for command in ([*create, *dual_stack, name], [*create, name]):
            done = self._small(*command, check=False)
            # A kind that is not ours can have created it meanwhile.
            if not done.status or self.has_network(name):
                return
        raise CommandFailed(done.argv, done.status, done.stdout, done.stderr)

    def _networks(self, name: str, *filters: str) -> list[str]:
        """The networks of a name, as the engine's ``network rm`` takes them: podman lists names, docker ids."""
        return self._small("network", "ls", "--quiet", "--filter", f"name=^{name}$", *filters).stdout.split()

    def _small(self, *arguments: str, check: bool = True) -> process.Completed:
        return self.run(*arguments, within=timeouts().small_command, check=check)

    def _image(self, *arguments: str, within: float | None = None, log: Path | None = None) -> None:
        self.run(*arguments, within=within or timeouts().image_step, log=log)

    def _plain_http(self, insecure: bool) -> list[str]:
        return ["--tls-verify=false"] if insecure and self.provider == "podman" else []


def _unique_local_subnet(name: str) -> str:
    """An IPv6 subnet of the unique local addresses (RFC 4193), derived from a name."""
    digits = hashlib.sha256(name.encode()).hexdigest()
    return f"fd{digits[:2]}:{digits[2:6]}:{digits[6:10]}:{digits[10:14]}::/64"


def names_a_registry(reference: str) -> bool:
    """Whether an image's name begins with a registry, by docker's rule: a dot, a port, or localhost."""
    first, slash, _ = reference.partition("/")
    return bool(slash) and (first == "localhost" or "." in first or ":" in first)
