"""Every root cause is found in the same mesh with IPv6 addresses alone, and a sound one is not accused."""

from __future__ import annotations

import re

import pytest

from splithorizon.diagnosis import state
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.reading.model import Reading
from splithorizon.diagnosis.root_cause import of_reading
from tests.diagnosis import test_blind_kinds
from tests.diagnosis.test_root_cause import CASES, SOUND
from tests.support.made_reading import OUTBOUND, Change, sound

_ADDRESS = re.compile(r"(?<![\d.])(\d+)\.(\d+)\.(\d+)\.(\d+)(?:/(\d+)|(:\d+))?(?![\d.])")


def over_ipv6(reading: Reading) -> Reading:
    """The same reading, in which every IPv4 address is an IPv6 one, in brackets where a port follows."""
    return Reading.from_json(_ADDRESS.sub(_other, reading.to_json().decode()))


def _other(found: re.Match[str]) -> str:
    first, *bits = map(int, found.group(1, 2, 3, 4))
    address = {127: "::1", 0: "::"}.get(first, f"fd00:{first}:{':'.join(map(str, bits))}::1")
    prefix, port = found.group(5, 6)
    if prefix:
        return f"{address}/{128 if prefix == '32' else int(prefix) * 2}"
    return f"[{address}]{port}" if port else address


_ALL = (*CASES, *test_blind_kinds.CASES)


@pytest.mark.parametrize(("broken", "cause"), [one[1:3] for one in _ALL], ids=[one[0] for one in _ALL])
def test_a_cause_is_found_over_ipv6(broken: Change, cause: Cause) -> None:
    reading = broken(sound())
    assert [one.id for one in of_reading(over_ipv6(reading)).root_causes] == [
        one.id for one in of_reading(reading).root_causes
    ]


@pytest.mark.parametrize("unusual", [one[1] for one in SOUND], ids=[one[0] for one in SOUND])
def test_a_mesh_of_another_kind_has_no_root_cause_over_ipv6(unusual: Change) -> None:
    assert of_reading(over_ipv6(unusual(sound()))).root_causes == ()


def test_every_address_is_exchanged() -> None:
    text = over_ipv6(sound()).to_json().decode()
    assert "[fd00:10:89:0:2::1]:15443" in text
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", text)


def test_what_istiod_and_proxies_say_of_a_gateway_is_one_address() -> None:
    reading = over_ipv6(sound())
    (held,) = (host.address for host in reading["primary"].proxies[0].endpoints[OUTBOUND] if "15443" in host.address)
    assert state.networks_known(reading, reading["remote"]) == frozenset({held})
    assert state.gateway_addresses(reading, reading["remote"]) == frozenset({held})
