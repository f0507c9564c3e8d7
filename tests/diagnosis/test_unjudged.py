"""Which causes an inconclusive result has."""

from __future__ import annotations

import pytest

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.diagnosis import causes, unjudged
from splithorizon.diagnosis.causes import Cause
from splithorizon.traffic.proxy_log import AccessLogSilent, AccessLogUnreadable


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AccessLogUnreadable("unreadable"), (causes.ACCESS_LOG_FORMAT_UNKNOWN,)),
        (AccessLogSilent("silent"), (causes.ACCESS_LOG_OFF,)),
        (EnvironmentBroke("the API server does not answer"), ()),
        (TimedOut("it is not true in time"), ()),
        (KeyError("a bug"), ()),
    ],
    ids=["unreadable", "silent", "environment", "late", "bug"],
)
def test_an_inconclusive_result_has_the_causes_that_its_exception_indicates(
    error: BaseException, expected: tuple[Cause, ...]
) -> None:
    assert unjudged.causes_of(error) == expected
