"""The default access-log formats of all Istio versions are parsed alike; other access-log lines are never ignored.

``data/access_log/text-*`` and ``json-*`` are one session of Envoy 1.40 in the default formats of Istio 1.1 to 1.31.
``seed.txt`` has the lines of Istio's 1.1 split-horizon guide. In JSON before 1.8 all values are texts, as Envoy
wrote them then. The other files are from real meshes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from splithorizon.traffic.access_log import AccessLogLine, parse

DATA = Path(__file__).parents[1] / "data" / "access_log"
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


def test_there_is_a_file_for_every_generation() -> None:
    text = ["1.1", "1.2", "1.23-1.31", "1.3-1.7", "1.8", "1.9-1.22"]
    json_files = [f"json-{name}" for name in ("1.1", "1.3-1.7", "1.8", "1.9-1.31")]
    assert [*json_files, *(f"text-{name}" for name in text)] == GENERATIONS


@pytest.mark.parametrize("stem", GENERATIONS)
def test_every_generation_has_the_same_content(stem: str) -> None:
    """Requests to the gateway, to a pod, traced, refused, untrusted and without a route; then TCP connections."""
    parsed = [(line.request_id, line.response_code, line.response_flags, line.upstream_host) for line in lines_of(stem)]
    assert parsed == [
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
def test_every_generation_has_cluster_authority_and_sni(stem: str) -> None:
    request, *_, connection, _, unrouted = lines_of(stem)
    assert request.request == "GET /hello HTTP/1.1"
    assert (request.authority, request.upstream_cluster) == ("helloworld.sample:5000", SERVICE)
    assert request.requested_server_name is None
    assert (connection.upstream_cluster, connection.requested_server_name) == (SNI, SNI)
    assert unrouted.requested_server_name == "outbound_.5000_._.nobody.sample.svc.cluster.local"


@pytest.mark.parametrize("stem", GENERATIONS)
def test_every_generation_has_the_downstream_addresses(stem: str) -> None:
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


def test_the_lines_of_the_guide() -> None:
    assert [line.upstream_host for line in lines_of("seed")] == [
        "192.23.120.32:15443",
        "10.10.0.90:5000",
    ]


@pytest.mark.parametrize("cluster", ["primary", "remote"])
def test_every_field_of_a_client_in_a_real_mesh(cluster: str) -> None:
    text = (DATA / f"1.29.1-{cluster}-sleep.txt").read_text()
    agents = [raw for raw in text.splitlines() if not raw.startswith("[2026-11-23T")]
    assert len(agents) > 20, "the file has lines of the agent"
    upstreams, client, service = {
        "primary": ({"10.10.0.5:5000"}, "10.10.0.6", "10.110.53.59:5000"),
        "remote": ({"10.20.0.4:5000", "10.89.0.5:15443"}, "10.20.0.5", "10.120.143.39:5000"),
    }[cluster]
    parsed = lines_of(f"1.29.1-{cluster}-sleep")
    assert len(parsed) == len(text.splitlines()) - len(agents) == 4
    for line in parsed:
        assert line.start_time
        assert line.start_time.startswith("2026-11-23T02:57:5")
        assert (line.request, line.response_code) == ("GET /hello HTTP/1.1", 200)
        assert (line.response_flags, line.transport_failure) == (None, None)
        assert line.response_code_details == "via_upstream"
        assert len(line.request_id or "") == 36
        assert line.authority == "helloworld.sample:5000"
        assert line.upstream_host in upstreams
        assert line.upstream_cluster == SERVICE
        assert line.downstream_local == service
        assert (line.downstream_remote or "").startswith(f"{client}:")
        assert (line.requested_server_name, line.route_name) == (None, "default")
    assert len({line.request_id for line in parsed}) == 4


def test_a_real_client_reached_a_pod_and_the_gateway() -> None:
    assert [line.upstream_host for line in lines_of("1.29.1-remote-sleep")] == [
        "10.89.0.5:15443",
        "10.20.0.4:5000",
        "10.20.0.4:5000",
        "10.89.0.5:15443",
    ]


@pytest.mark.parametrize("stem", REAL)
def test_logs_of_a_real_mesh(stem: str) -> None:
    parsed = lines_of(stem)
    assert all(line.raw.startswith(("[", "{")) for line in parsed)
    # A gateway logs a connection when it ends; connections of an idle mesh stay open.
    assert parsed or "gateway" in stem


def test_a_line_has_its_raw_text() -> None:
    assert parse(ONE + "\n").lines[0].raw == ONE


def test_ipv6() -> None:
    (line,) = parse(ONE.replace("192.23.120.32:15443", "[fd00::9]:15443") + "\n").lines
    assert line.upstream_host == "[fd00::9]:15443"


def changed(old: str, new: str, raw: str = ONE) -> AccessLogLine:
    assert raw.count(old) == 1
    (line,) = parse(raw.replace(old, new) + "\n").lines
    return line


def test_a_reason_with_spaces_and_one_with_underscores() -> None:
    for reason in ("delayed connect error: 111", "delayed_connect_error:_Connection_refused"):
        line = changed('200 - via_upstream - "-"', f'503 UF,URX via_upstream - "{reason}"')
        assert (line.response_code, line.response_flags) == (503, "UF,URX")
        assert line.transport_failure == reason
        assert line.upstream_host == "192.23.120.32:15443"


@pytest.mark.parametrize("details", ["transport socket timeout was reached", "rbac_denied[none]"])
def test_termination_details_with_spaces(details: str) -> None:
    line = changed(' - via_upstream - "-" ', f' UF via_upstream {details} "a reason" ')
    assert (line.response_flags, line.transport_failure) == ("UF", "a reason")
    assert (line.response_code_details, line.route_name) == ("via_upstream", "default")
    assert line.termination == details


def test_requests_without_an_istio_route_are_parsed() -> None:
    (line,) = parse(ONE.replace(SERVICE, "PassthroughCluster") + "\n").lines
    assert line.upstream_cluster == "PassthroughCluster"


def test_a_json_line_equals_its_text_line() -> None:
    first = lines_of("json-1.9-1.31")[0]
    twin = lines_of("text-1.23-1.31")[0]
    assert replace(first, raw="") == replace(twin, raw="")


UNKNOWN = {
    "a line cut off": ONE[: len(ONE) // 2],
    "a line without its last field": ONE.removesuffix(" default"),
    "a code that is not a number": ONE.replace("200 -", "OK -"),
    "an additional field": ONE.replace(" - default", " - default 4bf92f3577b34da6"),
    "a missing field": ONE.replace(' "curl/7.88.1"', ""),
    "a custom format": '[2026-11-23T03:08:38.887Z] "GET /hello" 200 upstream=10.10.0.90:5000',
    "JSON with a custom status": json.dumps(
        {"start_time": "-", "request_id": "b", "upstream_host": "h", "response_flags": "-"} | {"response_code": "OK"}
    ),
    "custom JSON": json.dumps({"response_code": 200, "upstream": "10.10.0.90:5000"}),
}


@pytest.mark.parametrize("raw", UNKNOWN.values(), ids=UNKNOWN)
def test_a_line_like_an_access_log_is_not_ignored(raw: str) -> None:
    log = parse(f"{ONE}\n{raw}\n")
    assert (len(log.lines), log.unknown) == (1, (raw,))


def test_a_line_with_an_expected_request_id_is_not_ignored() -> None:
    raw = "GET /hello sh-5ac4e1d0-1 10.10.0.90:5000"
    assert parse(raw + "\n").unknown == ()
    assert parse(raw + "\n", request_ids=["sh-5ac4e1d0-1"]).unknown == (raw,)


def test_json_with_other_keys_and_an_expected_request_id_is_not_ignored() -> None:
    raw = json.dumps({"id": "sh-5ac4e1d0-1", "to": "10.10.0.90:5000"})
    assert parse(raw + "\n") == parse("")
    assert parse(raw + "\n", request_ids=["sh-5ac4e1d0-2", "sh-5ac4e1d0-1"]).unknown == (raw,)


def test_json_of_the_agent_is_ignored() -> None:
    raw = '{"level":"info","time":"2026-11-23T03:08:37.123456Z","msg":"Envoy proxy is ready"}'
    assert parse(f"{raw}\n{{not JSON\n", request_ids=["sh-5ac4e1d0-1"]) == parse("")


def test_an_incomplete_last_line_is_ignored() -> None:
    assert parse(f"{ONE}\n{ONE[:40]}") == parse(f"{ONE}\n")
    assert len(parse(f"{ONE}\n{ONE}").lines) == 2


def test_a_mixer_status_is_not_a_failure_reason() -> None:
    raw = (DATA / "text-1.1.txt").read_text().splitlines()[2].replace('200 - "-"', '200 - "OK"')
    (line,) = parse(raw + "\n").lines
    assert line.transport_failure is None


def test_a_log_without_access_lines_is_empty() -> None:
    assert parse("") == parse("\n") == parse("2026-11-23T03:08:37.123456Z\tinfo\tready\n")
    assert parse("").lines == ()
