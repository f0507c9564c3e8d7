"""Hosts and ports as Envoy and URLs write them: an IPv6 address stands in brackets."""

from __future__ import annotations


def bracketed(host: str) -> str:
    """A host name or address as the host of a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def host_port(host: str, port: int | str) -> str:
    """``10.20.0.4:5000``, and ``[fd00::4]:5000`` for an IPv6 address."""
    return f"{bracketed(host)}:{port}"


def host_of(address: str) -> str:
    """The host of an address with a port, without brackets; empty where the address has no port."""
    return address.rpartition(":")[0].strip("[]")
