"""What is carried besides small requests: seen sound, refuted for each cause, and silent on no samples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks import CheckFailed
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.topology import Route
from splithorizon.traffic.protocols import Protocol, ProtocolCall

OUT = Route("primary", "remote")
VERSIONS = (frozenset({"v1"}), frozenset({"v2"}))
SOUND = tuple(ProtocolCall(f"v{1 + number % 2}", True, f"answer {number}") for number in range(24))


@pytest.mark.parametrize("protocol", list(Protocol), ids=lambda protocol: protocol.name)
def test_what_is_carried_is_told_with_its_chance(protocol: Protocol) -> None:
    found = checks.carried(SOUND, OUT, protocol, groups=VERSIONS)
    assert found.key_number == "24 carried"
    assert found.numbers == {"v1": 12, "v2": 12, "chance_of_missing_one": 2 * 0.5**24}


@pytest.mark.parametrize(
    ("protocol", "open_causes"),
    [
        (Protocol.LARGE_BODY, (causes.BODY_LIMITED, causes.CONNECTION_CUT)),
        (Protocol.HTTP2, (causes.PORT_MISNAMED,)),
        (Protocol.TCP, (causes.PORT_MISNAMED,)),
        (Protocol.GRPC, (causes.PORT_MISNAMED,)),
        (Protocol.LONG_WAIT, (causes.REQUEST_TIME_LIMITED, causes.SILENCE_LIMITED)),
        (Protocol.SILENCE, (causes.SILENCE_LIMITED,)),
    ],
    ids=lambda value: value.name if isinstance(value, Protocol) else "",
)
@pytest.mark.parametrize("spoilt", [{"ok": False}, {"version": ""}], ids=["wrong answer", "no answer"])
def test_what_is_spoilt_is_refuted_with_its_causes(
    protocol: Protocol, open_causes: tuple[Cause, ...], spoilt: dict[str, object]
) -> None:
    exchanges = [replace(SOUND[0], **spoilt), *SOUND[1:]]  # type: ignore[arg-type]  # a field and its value
    with pytest.raises(CheckFailed) as caught:
        checks.carried(exchanges, OUT, protocol, groups=VERSIONS)
    assert caught.value.causes == open_causes
    assert "1 x" in caught.value.seen
    assert caught.value.samples == 24


def test_a_version_without_a_part_is_refuted_and_its_cause_is_left_to_other_checks() -> None:
    with pytest.raises(CheckFailed, match="24; v1 24, v2 0") as caught:
        checks.carried(SOUND[::2] * 2, OUT, Protocol.TCP, groups=VERSIONS)
    assert caught.value.causes == ()


def test_nothing_is_said_without_exchanges() -> None:
    with pytest.raises(EnvironmentBroke, match="no exchanges"):
        checks.carried((), OUT, Protocol.GRPC, groups=VERSIONS)
