"""Every generation of Istio's default access log is read alike; anything else is never passed over.

``data/access_log/text-*`` and ``json-*`` are one session of Envoy 1.40 logged through the default
formats of Istio 1.1 to 1.31, and ``seed.txt`` is what the seed prints. JSON before 1.8 was turned
into text values afterwards, as the Envoy of its time wrote them. Other files are from real meshes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from splithorizon.observations.access_log import AccessLogLine, parse

DATA = Path(__file__).parent / "data" / "access_log"
GENERATIONS = sorted(path.stem for path in DATA.glob("[tj][es]*-*.txt"))
REAL = sorted(path.stem for path in DATA.glob("[0-9]*.txt"))
SERVICE = "outbound|5000||helloworld.sample.svc.cluster.local"
SNI = "outbound_.5000_._.helloworld.sample.svc.cluster.local"
REFUSED = "delayed_connect_error:_Connection_refused"
MODERN = (DATA / "text-1.23-1.31.txt").read_text()
ONE = MODERN.splitlines()[2]


def lines_of(stem: str) -> tuple[AccessLogLine, ...]:
    log = parse((DATA / f"{stem}.txt").read_text())
    assert log.unknown == ()
    return log.lines


def test_every_generation_is_there() -> None:
    text = ["1.1", "1.2", "1.23-1.31", "1.3-1.7", "1.8", "1.9-1.22"]
    wanted = [f"json-{name}" for name in ("1.1", "1.3-1.7", "1.8", "1.9-1.31")]
    assert [*wanted, *(f"text-{name}" for name in text)] == GENERATIONS


@pytest.mark.parametrize("stem", GENERATIONS)
def test_a_generation_tells_the_same(stem: str) -> None:
    """Requests first: to the gateway, to a pod, traced, refused, untrusted, to nobody; then TCP."""
    found = [
        (line.request_id, line.response_code, line.response_flags, line.upstream_host)
        for line in lines_of(stem)
    ]
    assert found == [
        ("sh-5ac4e1d0-1", 200, None, "192.23.120.32:15443"),
        ("sh-5ac4e1d0-2", 200, None, "10.10.0.90:5000"),
        ("6e096efe-f550-9dfa-8c8c-ba164baf4679", 200, None, "192.23.120.32:15443"),
        ("sh-5ac4e1d0-3", 503, "URX,UF", "10.20.0.7:5000"),
        ("sh-5ac4e1d0-4", 503, "URX,UF", "192.23.120.32:15443"),
        ("sh-5ac4e1d0-5", 404, "NR", None),
        (None, 0, None, "10.10.0.90:5000"),
        (None, 0, "UF,URX", "10.20.0.7:5000"),
        (None, 0, "NR", None),
    ]


@pytest.mark.parametrize("stem", GENERATIONS)
def test_a_generation_names_cluster_authority_and_sni(stem: str) -> None:
    request, *_, connection, _, unrouted = lines_of(stem)
    assert request.request == "GET /hello HTTP/1.1"
    assert (request.authority, request.upstream_cluster) == ("helloworld.sample:5000", SERVICE)
    assert request.requested_server_name is None
    assert (connection.upstream_cluster, connection.requested_server_name) == (SNI, SNI)
    assert unrouted.requested_server_name == "outbound_.5000_._.nobody.sample.svc.cluster.local"


@pytest.mark.parametrize("stem", GENERATIONS)
def test_a_generation_names_the_downstream_addresses(stem: str) -> None:
    request, *_, connection, _, _ = lines_of(stem)
    assert request.downstream_local == "10.20.194.146:5000"
    assert (request.downstream_remote or "").startswith("10.10.0.89:")
    assert connection.downstream_local == "172.18.0.9:15443"


@pytest.mark.parametrize("stem", [stem for stem in GENERATIONS if "1.1" not in stem[-4:]])
def test_the_reason_of_a_failed_connection(stem: str) -> None:
    _, _, _, refused, untrusted, *_ = lines_of(stem)
    assert refused.transport_failure == REFUSED
    assert "CERTIFICATE_VERIFY_FAILED" in (untrusted.transport_failure or "")


@pytest.mark.parametrize("stem", ["text-1.9-1.22", "text-1.23-1.31", "json-1.9-1.31"])
def test_details_since_1_9(stem: str) -> None:
    lines = lines_of(stem)
    assert lines[0].response_code_details == "via_upstream"
    assert lines[-1].response_code_details == "filter_chain_not_found"


def test_the_seeds_own_lines() -> None:
    assert [line.upstream_host for line in lines_of("seed")] == [
        "192.23.120.32:15443",
        "10.10.0.90:5000",
    ]


@pytest.mark.parametrize("stem", REAL)
def test_what_a_real_mesh_logged(stem: str) -> None:
    found = lines_of(stem)
    assert all(line.raw.startswith(("[", "{")) for line in found)
    # A gateway logs a connection when it ends, and those of a mesh at rest are kept.
    assert found or "gateway" in stem


def test_a_line_is_kept_as_it_was() -> None:
    assert parse(ONE + "\n").lines[0].raw == ONE


def test_ipv6() -> None:
    (line,) = parse(ONE.replace("192.23.120.32:15443", "[fd00::9]:15443") + "\n").lines
    assert line.upstream_host == "[fd00::9]:15443"


UNKNOWN = {
    "a field more": ONE.replace(" - default", " - default 4bf92f3577b34da6"),
    "a field less": ONE.replace(' "curl/7.88.1"', ""),
    "a format of one's own": '[2026-11-23T03:08:38.887Z] "GET /hello" 200 upstream=10.10.0.90:5000',
    "JSON with a status of one's own": json.dumps(
        {"start_time": "-", "request_id": "b", "upstream_host": "h", "response_flags": "-"}
        | {"response_code": "OK"}
    ),
    "JSON of one's own": json.dumps({"response_code": 200, "upstream": "10.10.0.90:5000"}),
}


@pytest.mark.parametrize("raw", UNKNOWN.values(), ids=UNKNOWN)
def test_what_looks_like_access_is_not_passed_over(raw: str) -> None:
    log = parse(f"{ONE}\n{raw}\n")
    assert (len(log.lines), log.unknown) == (1, (raw,))


def test_a_line_about_a_request_that_is_looked_for_is_not_passed_over() -> None:
    raw = "GET /hello sh-5ac4e1d0-1 10.10.0.90:5000"
    assert parse(raw + "\n").unknown == ()
    assert parse(raw + "\n", request_ids=["sh-5ac4e1d0-1"]).unknown == (raw,)


def test_half_a_last_line_is_not_there_yet() -> None:
    assert parse(f"{ONE}\n{ONE[:40]}") == parse(f"{ONE}\n")
    assert len(parse(f"{ONE}\n{ONE}").lines) == 2


def test_mixers_status_is_not_taken_for_a_reason() -> None:
    raw = (DATA / "text-1.1.txt").read_text().splitlines()[2].replace('200 - "-"', '200 - "OK"')
    (line,) = parse(raw + "\n").lines
    assert line.transport_failure is None


def test_nothing_is_nothing() -> None:
    assert parse("") == parse("\n") == parse("2026-11-23T03:08:37.123456Z\tinfo\tready\n")
    assert parse("").lines == ()
