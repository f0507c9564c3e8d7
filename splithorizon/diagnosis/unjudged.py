"""The causes of inconclusive results."""

from __future__ import annotations

from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.traffic.proxy_log import AccessLogSilent, AccessLogUnreadable


def causes_of(error: BaseException) -> tuple[Cause, ...]:
    """The causes that an exception can have; empty if it indicates none."""
    match error:
        case AccessLogUnreadable():
            return (causes.ACCESS_LOG_FORMAT_UNKNOWN,)
        case AccessLogSilent():
            return (causes.ACCESS_LOG_OFF,)
        case _:
            return ()
