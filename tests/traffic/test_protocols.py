"""Calls by other protocols: the commands that make them, and the parser of their output."""

from __future__ import annotations

import subprocess

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.traffic import protocols
from splithorizon.traffic.protocols import Protocol

PRINTED = """call v1 yes Hello version: v1, instance: helloworld-v1-a, protocol: HTTP/2.0, opaque: false
call v2 no Hello version: v2, instance: helloworld-v2-b, protocol: HTTP/1.1, opaque: false
call  no curl: (7) Failed to connect to echo.sample port 5012
"""


@pytest.mark.parametrize("protocol", list(Protocol), ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("shell", [("sh",), ("bash", "--posix")], ids=" ".join)
def test_a_command_without_a_server_reports_every_call(protocol: Protocol, shell: tuple[str, ...]) -> None:
    # curl resolves any name below localhost to this machine, where no process listens on these ports.
    _, *command = protocols.command(protocol, "localhost", times=3, timeout=5)
    done = subprocess.run([*shell, *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    calls = protocols.parse(done.stdout, 3)
    assert {call.version for call in calls} == {""}
    assert not any(call.ok for call in calls)
    assert all("curl: (7)" in call.output for call in calls), calls


def test_each_line_is_a_call() -> None:
    good, bad, lost = protocols.parse(PRINTED, 3)
    assert (good.version, good.ok) == ("v1", True)
    assert (bad.version, bad.ok) == ("v2", False)
    assert bad.output.endswith("protocol: HTTP/1.1, opaque: false")
    assert (lost.version, lost.ok) == ("", False)
    assert lost.output.startswith("curl: (7)")


@pytest.mark.parametrize("printed", ["", PRINTED.partition("\n")[0] + "\n", PRINTED + PRINTED])
def test_a_missing_or_additional_call_is_a_broken_environment(printed: str) -> None:
    with pytest.raises(EnvironmentBroke, match="of 3 calls"):
        protocols.parse(printed, 3)


def test_calls_that_were_killed_in_the_clients_container_say_nothing_of_the_mesh() -> None:
    printed = "call v1 yes Hello version: v1\ncall v2 no Hello version: v2 Killed\ncall  no Killed\n"
    with pytest.raises(EnvironmentBroke, match="room for its calls") as broke:
        protocols.parse(printed, 3)
    assert broke.value.seen == "2 of 3 were killed there"
