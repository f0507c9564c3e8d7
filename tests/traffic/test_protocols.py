"""Exchanges by other protocols: the commands that have them, and what these print."""

from __future__ import annotations

import subprocess

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.traffic import protocols
from splithorizon.traffic.protocols import Protocol

PRINTED = """exchange v1 yes Hello version: v1, instance: helloworld-v1-a, protocol: HTTP/2.0, opaque: false
exchange v2 no Hello version: v2, instance: helloworld-v2-b, protocol: HTTP/1.1, opaque: false
exchange  no curl: (7) Failed to connect to echo.sample port 5012
"""


@pytest.mark.parametrize("protocol", list(Protocol), ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("shell", [("sh",), ("bash", "--posix")], ids=" ".join)
def test_a_command_without_anybody_to_answer_tells_of_every_exchange(
    protocol: Protocol, shell: tuple[str, ...]
) -> None:
    # curl takes any name below localhost for this machine, where nobody listens at those ports.
    _, *command = protocols.command(protocol, "localhost", times=3, timeout=5)
    done = subprocess.run([*shell, *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = protocols.parse(done.stdout, 3)
    assert {one.version for one in found} == {""}
    assert not any(one.sound for one in found)
    assert all("curl: (7)" in one.said for one in found), found


def test_what_is_printed_is_read_line_by_line() -> None:
    one, other, lost = protocols.parse(PRINTED, 3)
    assert (one.version, one.sound) == ("v1", True)
    assert (other.version, other.sound) == ("v2", False)
    assert other.said.endswith("protocol: HTTP/1.1, opaque: false")
    assert (lost.version, lost.sound) == ("", False)
    assert lost.said.startswith("curl: (7)")


@pytest.mark.parametrize("printed", ["", PRINTED.partition("\n")[0] + "\n", PRINTED + PRINTED])
def test_exchanges_that_are_not_all_told_of_break_the_run(printed: str) -> None:
    with pytest.raises(EnvironmentBroke, match="of 3 exchanges"):
        protocols.parse(printed, 3)
