"""How the diagnosis of a Service is printed: for a person, and as JSON for a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from splithorizon.checks.next_steps import render
from splithorizon.diagnosis.endpoints import Expected, PortView, View
from splithorizon.diagnosis.finding import Fact, Finding
from splithorizon.diagnosis.reading.model import Host
from splithorizon.diagnosis.root_cause import NO_KNOWN_CAUSE
from splithorizon.run.service_diagnosis import Found

_NOTES_SHOWN = 12
_UNREAD_SHOWN = 8
NOTHING_WRONG = "nothing wrong was found"


def lines(found: Found) -> Iterator[str]:
    """The answer for a person, line by line: endpoints of each cluster, then the root cause, then what was noted."""
    reading = found.reading
    yield f"Service {reading.namespace}/{reading.service}, in the mesh {reading.host} (revision {reading.revision})"
    for view in found.views:
        yield ""
        yield from _of_view(found, view)
    yield ""
    yield from (f"failing: {one}" for one in found.failing)
    yield from _causes(found)
    if notes := _notes(found):
        yield ""
        yield "notes (unusual, and nothing shows that it has an effect):"
        yield from (f"  {one}" for one in notes[:_NOTES_SHOWN])
        if len(notes) > _NOTES_SHOWN:
            yield f"  and {len(notes) - _NOTES_SHOWN} more; --json has all"
    if reading.unread:
        yield ""
        yield "not read:"
        yield from (f"  {one}" for one in reading.unread[:_UNREAD_SHOWN])
        if len(reading.unread) > _UNREAD_SHOWN:
            yield f"  and {len(reading.unread) - _UNREAD_SHOWN} more; --json has all"
    yield ""
    yield f"read in {reading.seconds:.1f} s, {reading.size / 1_000_000:.1f} MB"


def conclusion(found: Found) -> str:
    """One sentence: the root causes, that none is known, or that nothing is wrong."""
    if found.diagnosis.root_causes:
        return found.diagnosis.text
    if any(one.wrong for one in found.views):
        return f"{NO_KNOWN_CAUSE}, and endpoints are not as expected"
    if found.failing:
        return f"{NO_KNOWN_CAUSE}, and requests fail: {found.failing[0]}"
    if found.unjudged:
        return f"{NO_KNOWN_CAUSE}: {found.unjudged}"
    unseen = [one.cluster for one in found.views if one.proxy is None]
    return NOTHING_WRONG + (f"; what clients of {' and '.join(unseen)} hold was not seen" if unseen else "")


def as_json(found: Found) -> dict[str, Any]:
    """The answer for a program."""
    reading = found.reading
    return {
        "service": f"{reading.namespace}/{reading.service}",
        "host": reading.host,
        "revision": reading.revision,
        "conclusion": conclusion(found),
        "exit_status": int(found.exit_status),
        "clusters": [_view_json(found, view) for view in found.views],
        "root_causes": [_finding_json(found, one.finding) for one in found.diagnosis.root_causes],
        "tie": found.diagnosis.tie,
        "notes": [_finding_json(found, one) for one in found.diagnosis.notes],
        "failing": list(found.failing),
        "exceptions": list(found.exceptions),
        "unread": [{"cluster": one.cluster, "what": one.what, "reason": one.reason} for one in reading.unread],
        "seconds": reading.seconds,
        "bytes": reading.size,
    }


def _of_view(found: Found, view: View) -> Iterator[str]:
    cluster = found.mesh.clusters[view.cluster]
    yield f"{view.cluster} (context {cluster.context}, network {cluster.network or 'without a name'})"
    yield f"  as {view.proxy} holds it: {view.picked}" if view.proxy else f"  {view.unseen}"
    if view.remark:
        yield f"  {view.remark}"
    if not view.ports:
        yield "  no cluster's Service has a TCP port"
    for port in view.ports:
        yield from _of_port(view, port)


def _of_port(view: View, port: PortView) -> Iterator[str]:
    yield f"  port {port.port}{f' ({port.name})' if port.name else ''}"
    if view.proxy and port.held is None and not view.remark:
        yield "    this Envoy does not know the port"
    held: dict[str, list[Host]] = {}
    for host in port.held or ():
        held.setdefault(host.address, []).append(host)
    rows = [(_called(one), one.cluster, f"expected weight {one.weight}", _state(view, port, one, held)) for one in
            port.expected]  # fmt: skip
    rows += [
        (host.address, "", "not expected", _held([host]) + (_ELSEWHERE if host in port.of_another_network else ""))
        for host in port.unexpected
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        yield "    " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)) + f"  {row[3]}"
    if port.weights_differ:
        yield "    the weights' shares are not as expected"
    if not rows:
        yield "    no endpoint is expected, and none is held"


_ELSEWHERE = ", a pod of another network: it cannot be reached by its address"


def _called(one: Expected) -> str:
    if not one.address:
        return "a gateway without a known address"
    return f"{'gateway' if one.is_gateway else 'pod'} {one.address}"


def _state(view: View, port: PortView, one: Expected, held: dict[str, list[Host]]) -> str:
    if view.proxy is None:
        return "not seen"
    if one in port.missing:
        return "MISSING"
    if one.address in held:
        return _held(held[one.address])
    return "held by its resolved address" if one.is_host_name else "not held"


def _held(hosts: list[Host]) -> str:
    weight = sum(host.weight for host in hosts)
    first = hosts[0]
    parts = [f"held with weight {weight}"]
    parts += [f"priority {first.priority}"] if first.priority else []
    parts += [f"locality {first.locality}"] if first.locality else []
    parts += [", ".join(first.health)] if first.health else []
    return ", ".join(parts)


def _causes(found: Found) -> Iterator[str]:
    if not found.diagnosis.root_causes:
        yield conclusion(found)
        return
    for number, one in enumerate(found.diagnosis.root_causes):
        heading = "root cause" if not number else "another root cause"
        yield f"{heading}: {one.finding.cause.text} [{one.id}]"
        yield from (f"  evidence: {fact}" for fact in one.finding.evidence)
        yield f"  witness:  {one.finding.witness}"
        if one.finding.fix:
            yield f"  fix:      {render(one.finding.fix, found.mesh)}"
    if found.diagnosis.tie:
        yield "none of the first two shows to be the first"


def _notes(found: Found) -> list[str]:
    noted = [f"{one.cause.text} [{one.cause.id}]: {'; '.join(map(str, one.evidence[:2]))}" for one in
             found.diagnosis.notes]  # fmt: skip
    return [*found.exceptions, *noted]


def _view_json(found: Found, view: View) -> dict[str, Any]:
    cluster = found.mesh.clusters[view.cluster]
    return {
        "name": view.cluster,
        "context": cluster.context,
        "network": cluster.network,
        "cluster_id": cluster.cluster_id,
        "client": view.proxy,
        "picked": view.picked,
        "unseen": view.unseen,
        "remark": view.remark,
        "ports": [
            {
                "port": one.port,
                "name": one.name,
                "expected": [_expected_json(each) for each in one.expected],
                "held": None if one.held is None else list(map(_host_json, one.held)),
                "missing": [_expected_json(each) for each in one.missing],
                "unexpected": list(map(_host_json, one.unexpected)),
                "weights_differ": one.weights_differ,
            }
            for one in view.ports
        ],
    }


def _expected_json(one: Expected) -> dict[str, Any]:
    kind = "gateway" if one.is_gateway else "pod"
    return {"address": one.address, "weight": one.weight, "cluster": one.cluster, "kind": kind}


def _host_json(one: Host) -> dict[str, Any]:
    return {
        "address": one.address,
        "weight": one.weight,
        "priority": one.priority,
        "locality": one.locality,
        "health": list(one.health),
    }


def _finding_json(found: Found, one: Finding) -> dict[str, Any]:
    return {
        "cause_id": one.cause.id,
        "text": one.cause.text,
        "evidence": list(map(_fact_json, one.evidence)),
        "witness": one.witness,
        "fix": render(one.fix, found.mesh),
    }


def _fact_json(one: Fact) -> dict[str, str]:
    return {"object": one.object, "field": one.field, "value": one.value}
