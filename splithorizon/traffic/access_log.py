"""Parses access logs of proxies in Istio's default formats: TEXT of Istio 1.1 and later, and JSON.

The formats are those in Istio's ``telemetry_logging.go`` and, before, ``accesslog.go``. They differ only in the part
between the response flags and the byte counts, and in the route name at the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_HEAD = (
    r'\[(?P<start_time>[^\]]*)\] "(?P<request>[^"]*)" (?P<response_code>\d+|-) '
    r"(?P<response_flags>[A-Za-z,]+|-) "
)
_REASON = rf"(?P<transport_failure>{_QUOTED}) "
_TAIL = (
    r"(?P<bytes_received>\d+) (?P<bytes_sent>\d+) (?P<duration>\d+|-) "
    rf"(?P<upstream_service_time>\S+) (?P<forwarded_for>{_QUOTED}) (?P<user_agent>{_QUOTED}) "
    r'"(?P<request_id>[^"]*)" "(?P<authority>[^"]*)" "(?P<upstream_host>[^"]*)" '
    r"(?P<upstream_cluster>\S+) (?P<upstream_local>\S+) (?P<downstream_local>\S+) "
    r"(?P<downstream_remote>\S+) (?P<requested_server_name>\S+)"
)
_ROUTE = r" (?P<route_name>\S+)"
# A Mixer status cannot be told from a failure reason. Lines with only one of them have a route name in 1.8 alone.
_FORMATS = tuple(
    re.compile(_HEAD + shape)
    for shape in (
        # 1.9 and later; Envoy writes some termination details as words with spaces, without quotes.
        r"(?P<response_code_details>\S+) "
        rf'(?P<termination>[^"]+|{_QUOTED}) {_REASON}{_TAIL}{_ROUTE}',
        # 1.8
        rf"{_REASON}{_TAIL}{_ROUTE}",
        # 1.2 to 1.7: Mixer's status first; a route name from 1.3 on
        rf"{_QUOTED} {_REASON}{_TAIL}(?:{_ROUTE})?",
        # 1.1: Mixer's status alone; in Istio's 1.1 split-horizon guide not even that
        rf"(?:{_QUOTED} )?{_TAIL}",
    )
)
_ACCESS_LINE = re.compile(r'\[\d{4}-\d\d-\d\dT[^\]]*\] "')
_JSON_KEYS = {
    "termination": "connection_termination_details",
    "transport_failure": "upstream_transport_failure_reason",
    "upstream_local": "upstream_local_address",
    "downstream_local": "downstream_local_address",
    "downstream_remote": "downstream_remote_address",
}


@dataclass(frozen=True)
class AccessLogLine:
    """One request or TCP connection in an access log; None stands for ``-``."""

    raw: str
    start_time: str | None = None
    request: str | None = None
    response_code: int | None = None
    response_flags: str | None = None
    response_code_details: str | None = None
    termination: str | None = None
    """Why Envoy itself ended the connection."""
    transport_failure: str | None = None
    request_id: str | None = None
    authority: str | None = None
    upstream_host: str | None = None
    upstream_cluster: str | None = None
    upstream_local: str | None = None
    downstream_local: str | None = None
    downstream_remote: str | None = None
    requested_server_name: str | None = None
    route_name: str | None = None


@dataclass(frozen=True)
class AccessLog:
    """A parsed log: its access-log lines, and lines that seem to be of the access log but have an unknown format."""

    lines: tuple[AccessLogLine, ...]
    unknown: tuple[str, ...]


def parse(text: str, *, request_ids: Iterable[str] = ()) -> AccessLog:
    """Parse the log of a proxy's container; lines of the proxy's own log are ignored.

    A line in an unknown format is returned as ``unknown`` if it begins like an access log or contains one of the
    request ids; a check on it is then inconclusive. A last line without a line feed may be incomplete, because Envoy
    flushes its log in blocks: it is parsed if possible, and never unknown.
    """
    ids = tuple(request_ids)
    lines: list[AccessLogLine] = []
    unknown: list[str] = []
    *complete, last = text.split("\n")
    for raw in complete:
        if (line := _parse(raw)) is not None:
            lines.append(line)
        elif _is_like_an_access_log(raw) or any(request_id in raw for request_id in ids):
            unknown.append(raw)
    if (line := _parse(last)) is not None:
        lines.append(line)
    return AccessLog(tuple(lines), tuple(unknown))


def _parse(raw: str) -> AccessLogLine | None:
    if raw.startswith("{"):
        return _parse_json(raw)
    for shape in _FORMATS:
        if match := shape.fullmatch(raw):
            return _line(raw, match.groupdict().get)
    return None


def _parse_json(raw: str) -> AccessLogLine | None:
    try:
        content: Mapping[str, Any] = json.loads(raw)
    except ValueError:
        return None
    if not {"start_time", "request_id", "upstream_host", "response_flags"} <= content.keys():
        return None
    if not re.fullmatch(r"\d+|-|None", str(content.get("response_code"))):
        return None

    def value(name: str) -> Any:
        if name == "request":
            parts = ("method", "path", "protocol")
            return " ".join(str(content.get(part) or "-") for part in parts)
        return content.get(_JSON_KEYS.get(name, name))

    return _line(raw, value)


def _is_like_an_access_log(raw: str) -> bool:
    return bool(_ACCESS_LINE.match(raw)) or (raw.startswith("{") and '"response_code' in raw)


def _line(raw: str, value: Callable[[str], Any]) -> AccessLogLine:
    special = {"raw", "response_code"}
    names = [field.name for field in fields(AccessLogLine) if field.name not in special]
    code = _value(value("response_code"))
    return AccessLogLine(
        raw=raw,
        response_code=int(code) if code is not None else None,
        **{name: _value(value(name)) for name in names},
    )


def _value(value: Any) -> str | None:
    text = "" if value is None else str(value).strip('"')
    return None if text in {"", "-"} else text
