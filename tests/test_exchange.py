"""Exchanges by other protocols: the commands that have them, what these print, and what is made of it."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from splithorizon import checks
from splithorizon.checks import CheckFailed
from splithorizon.errors import EnvironmentBroke
from splithorizon.observations import exchange
from splithorizon.observations.exchange import Exchange, Protocol
from splithorizon.route import Route
from splithorizon.topology import Role

OUT = Route(Role.PRIMARY, Role.REMOTE)
PRINTED = """exchange v1 yes Hello version: v1, instance: helloworld-v1-a, protocol: HTTP/2.0, opaque: false
exchange v2 no Hello version: v2, instance: helloworld-v2-b, protocol: HTTP/1.1, opaque: false
exchange  no curl: (7) Failed to connect to echo.sample port 5012
"""
SOUND = tuple(Exchange(f"v{1 + number % 2}", True, f"answer {number}") for number in range(24))


@pytest.mark.parametrize("protocol", list(Protocol), ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("shell", [("sh",), ("bash", "--posix")], ids=" ".join)
def test_a_command_without_anybody_to_answer_tells_of_every_exchange(
    protocol: Protocol, shell: tuple[str, ...]
) -> None:
    # curl takes any name below localhost for this machine, where nobody listens at those ports.
    _, *command = exchange.command(protocol, "localhost", times=3, timeout=5)
    done = subprocess.run([*shell, *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = exchange.parse(done.stdout, 3)
    assert {one.version for one in found} == {""}
    assert not any(one.sound for one in found)
    assert all("curl: (7)" in one.said for one in found), found


def test_what_is_printed_is_read_line_by_line() -> None:
    one, other, lost = exchange.parse(PRINTED, 3)
    assert (one.version, one.sound) == ("v1", True)
    assert (other.version, other.sound) == ("v2", False)
    assert other.said.endswith("protocol: HTTP/1.1, opaque: false")
    assert (lost.version, lost.sound) == ("", False)
    assert lost.said.startswith("curl: (7)")


@pytest.mark.parametrize("printed", ["", PRINTED.partition("\n")[0] + "\n", PRINTED + PRINTED])
def test_exchanges_that_are_not_all_told_of_break_the_run(printed: str) -> None:
    with pytest.raises(EnvironmentBroke, match="of 3 exchanges"):
        exchange.parse(printed, 3)


@pytest.mark.parametrize("protocol", list(Protocol), ids=lambda protocol: protocol.name)
def test_what_is_carried_is_told_with_its_chance(protocol: Protocol) -> None:
    found = checks.carried(SOUND, OUT, protocol)
    assert found.key_number == "24 carried"
    assert found.numbers == {"v1": 12, "v2": 12, "chance_of_missing_one": 2 * 0.5**24}


@pytest.mark.parametrize(
    ("protocol", "cause"),
    [
        (Protocol.LARGE_BODY, "a filter limits bodies"),
        (Protocol.HTTP2, "the Service's port says another protocol"),
        (Protocol.TCP, "the Service's port says another protocol"),
        (Protocol.GRPC, "the Service's port says another protocol"),
        (Protocol.LONG_WAIT, "a rule limits how long"),
    ],
    ids=lambda value: value.name if isinstance(value, Protocol) else "",
)
@pytest.mark.parametrize("spoilt", [{"sound": False}, {"version": ""}], ids=["unsound", "nobody"])
def test_what_is_spoilt_is_refuted_with_its_cause(protocol: Protocol, cause: str, spoilt: dict[str, object]) -> None:
    exchanges = [replace(SOUND[0], **spoilt), *SOUND[1:]]  # type: ignore[arg-type]  # a field and its value
    with pytest.raises(CheckFailed) as caught:
        checks.carried(exchanges, OUT, protocol)
    assert cause in caught.value.likely_cause
    assert "1 x" in caught.value.seen
    assert caught.value.samples == 24


def test_a_version_without_a_part_is_refuted() -> None:
    with pytest.raises(CheckFailed, match="one version is not reached by this protocol"):
        checks.carried(SOUND[::2], OUT, Protocol.TCP)


def test_nothing_is_said_without_exchanges() -> None:
    with pytest.raises(EnvironmentBroke, match="no exchanges"):
        checks.carried((), OUT, Protocol.GRPC)
