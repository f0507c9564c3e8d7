"""Hosts and ports, as names, IPv4 and IPv6 addresses."""

from __future__ import annotations

import pytest

from splithorizon.base import addresses


@pytest.mark.parametrize(
    ("host", "written"),
    [("10.20.0.4", "10.20.0.4:5000"), ("fd00::4", "[fd00::4]:5000"), ("gateway.example", "gateway.example:5000")],
)
def test_a_host_with_a_port_is_written_as_envoy_does_and_read_back(host: str, written: str) -> None:
    assert addresses.host_port(host, 5000) == written
    assert addresses.host_of(written) == host


def test_no_host_is_read_from_an_address_without_a_port() -> None:
    assert addresses.host_of("10.20.0.4") == ""
