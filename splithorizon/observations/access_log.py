"""Reads a side-car's access log in Istio's default formats, TEXT from 1.1 to today, and JSON.

The formats are those of Istio's own ``telemetry_logging.go`` and, before, ``accesslog.go``; only the
part between the response flags and the byte counts, and the route name at the end, changed over time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TAIL = (
    r"(?P<bytes_received>\d+) (?P<bytes_sent>\d+) (?P<duration>\d+|-) (?P<upstream_service_time>\S+) "
    rf'(?P<forwarded_for>{_QUOTED}) (?P<user_agent>{_QUOTED}) "(?P<request_id>[^"]*)" '
    r'"(?P<authority>[^"]*)" "(?P<upstream_host>[^"]*)" (?P<upstream_cluster>\S+) (?P<upstream_local>\S+) '
    r"(?P<downstream_local>\S+) (?P<downstream_remote>\S+) (?P<requested_server_name>\S+)"
    r"(?: (?P<route_name>\S+))?"
)
_HEAD = (
    r'\[(?P<start_time>[^\]]*)\] "(?P<request>[^"]*)" (?P<response_code>\d+|-) (?P<response_flags>[A-Za-z,]+|-) '
)
# 1.9 and later: details, termination details, quoted reason. 1.8: the quoted reason alone. 1.1 to 1.7:
# Mixer's status, from 1.2 with the reason. The seed prints a line with none of them.
_FORMATS = tuple(
    re.compile(_HEAD + middle + _TAIL)
    for middle in (
        rf"(?P<response_code_details>\S+) (?P<termination>\S+|{_QUOTED}) (?P<transport_failure>{_QUOTED}) ",
        rf"{_QUOTED} (?P<transport_failure>{_QUOTED}) ",
        rf"(?P<transport_failure>{_QUOTED}) ",
        "",
    )
)
_ACCESS_LINE = re.compile(r'\[\d{4}-\d\d-\d\dT[^\]]*\] "')
_JSON_KEYS = {
    "transport_failure": "upstream_transport_failure_reason",
    "response_code_details": "response_code_details",
}


@dataclass(frozen=True)
class AccessLogLine:
    """One request, or one connection, as a proxy logged it; None is what Envoy writes as ``-``."""

    raw: str
    start_time: str | None = None
    request: str | None = None
    response_code: int | None = None
    response_flags: str | None = None
    response_code_details: str | None = None
    transport_failure: str | None = None
    request_id: str | None = None
    authority: str | None = None
    upstream_host: str | None = None
    upstream_cluster: str | None = None
    downstream_local: str | None = None
    downstream_remote: str | None = None
    requested_server_name: str | None = None
    route_name: str | None = None


@dataclass(frozen=True)
class AccessLog:
    """A log read: the lines understood, and those that are of the access log in no known format."""

    lines: tuple[AccessLogLine, ...]
    unknown: tuple[str, ...]


def parse(text: str, *, request_ids: Iterable[str] = ()) -> AccessLog:
    """Read a container's log; what the proxy says of itself is passed over.

    A line in no known format counts as unknown where it begins like an access log, or names one of
    the request ids: its reader must then answer "inconclusive".
    """
    wanted = tuple(request_ids)
    lines: list[AccessLogLine] = []
    unknown: list[str] = []
    for raw in text.splitlines():
        if (line := _read(raw)) is not None:
            lines.append(line)
        elif _ACCESS_LINE.match(raw) or _looks_like_json_access(raw) or any(i in raw for i in wanted):
            unknown.append(raw)
    return AccessLog(tuple(lines), tuple(unknown))


def _read(raw: str) -> AccessLogLine | None:
    if raw.startswith("{"):
        return _read_json(raw)
    for shape in _FORMATS:
        if found := shape.fullmatch(raw):
            return _line(raw, found.groupdict().get)
    return None


def _read_json(raw: str) -> AccessLogLine | None:
    try:
        content: Mapping[str, Any] = json.loads(raw)
    except ValueError:
        return None
    if not {"start_time", "request_id", "upstream_host", "response_flags"} <= content.keys():
        return None

    def value(name: str) -> Any:
        if name == "request":
            return " ".join(str(content.get(part) or "-") for part in ("method", "path", "protocol"))
        return content.get(_JSON_KEYS.get(name, name))

    return _line(raw, value)


def _looks_like_json_access(raw: str) -> bool:
    return raw.startswith("{") and '"response_code' in raw


def _line(raw: str, value: Callable[[str], Any]) -> AccessLogLine:
    names = [field.name for field in fields(AccessLogLine) if field.name not in {"raw", "response_code"}]
    code = _plain(value("response_code"))
    return AccessLogLine(
        raw=raw,
        response_code=int(code) if code is not None else None,
        **{name: _plain(value(name)) for name in names},
    )


def _plain(value: Any) -> str | None:
    text = "" if value is None else str(value).strip('"')
    return None if text in {"", "-"} else text
