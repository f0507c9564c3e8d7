"""Why nothing could be judged, as far as an error of the environment tells."""

from __future__ import annotations

from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.traffic.proxy_log import AccessLogSilent, AccessLogUnreadable


def causes_of(error: BaseException) -> tuple[Cause, ...]:
    """The causes that an error leaves open; none where it points at none."""
    match error:
        case AccessLogUnreadable():
            return (causes.ACCESS_LOG_FORMAT_UNKNOWN,)
        case AccessLogSilent():
            return (causes.ACCESS_LOG_OFF,)
        case _:
            return ()
