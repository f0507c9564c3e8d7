"""Which failures of an access log bear witness where no check failed: those that are the rule at their place."""

from __future__ import annotations

import pytest

from splithorizon.diagnosis import causes
from splithorizon.diagnosis.prevailing import exceptions, failing, prevailing, without_rare_failures
from splithorizon.diagnosis.reading.model import CLIENT, SERVER, Host, LogCount, Proxy
from splithorizon.diagnosis.root_cause import of_reading
from tests.support.made_reading import GATEWAYS, OUTBOUND, also, holds, logs, made, proxies, sound
from tests.support.made_reading import adds as adds_to

WELL = LogCount(90, 200, upstream="10.10.0.4:5000", authority="helloworld:5000")
DENIED = "rbac_access_denied_matched_policy[ns[sample]-policy[deny]-rule[0]]"


def proxy(*log: LogCount, kind: str = CLIENT) -> Proxy:
    return Proxy(kind, "sleep-1", "sample", log=log)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (LogCount(89, 503, "UF", upstream="10.10.0.4:5000", authority="helloworld:5000"), False),
        (LogCount(91, 503, "UF", upstream="10.10.0.4:5000", authority="helloworld:5000"), True),
        # All of another upstream, though most requests for the host were well.
        (LogCount(3, 503, "UF", upstream="10.89.0.2:15443", authority="helloworld:5000"), True),
        # What went nowhere is compared with all that was asked of the host.
        (LogCount(3, 403, details="rbac_access_denied", authority="helloworld:5000"), False),
        (LogCount(3, 403, details="rbac_access_denied", authority="elsewhere:80"), True),
        # Nobody injects a fault by chance.
        (LogCount(3, 500, "FI", authority="helloworld:5000"), True),
    ],
)
def test_a_failure_counts_where_it_is_the_rule(line: LogCount, kept: bool) -> None:
    assert (line in prevailing(proxy(WELL, line))) is kept


def test_a_servers_refusals_count_where_a_client_is_always_refused() -> None:
    refusal = LogCount(3, 403, details="rbac_access_denied", authority="helloworld:5000")
    assert refusal not in prevailing(proxy(WELL, refusal, kind=SERVER))
    assert refusal in prevailing(proxy(WELL, refusal, kind=SERVER), {403})


def test_a_policy_that_refuses_some_is_a_note_and_one_that_refuses_a_cluster_a_root_cause() -> None:
    policy = adds_to("primary", made("AuthorizationPolicy", "deny", "sample", spec={"action": "DENY", "rules": [{}]}))
    served = (
        LogCount(90, 200, upstream="10.10.0.4:5000", authority="helloworld:5000"),
        LogCount(10, 403, details=DENIED, authority="helloworld:5000"),
    )
    some = also(policy, proxies("remote", SERVER, log=served))(sound())
    assert of_reading(some).root_causes == ()
    assert exceptions(some) == [
        f"10 requests of remote's helloworld-1 to helloworld:5000 ended with 403 {DENIED}; most there did not"
    ]
    every = logs("primary", code=403, upstream=GATEWAYS["remote"], authority="helloworld:5000", details="via_upstream")
    (found,) = of_reading(every(some)).root_causes
    assert found.id == causes.POLICY_DENIES.id


def test_a_reading_without_failures_is_as_it_was() -> None:
    assert without_rare_failures(sound()) == sound()
    assert exceptions(sound()) == []


def test_what_fails_as_a_rule_is_said_of_the_service_alone() -> None:
    refused = LogCount(20, 503, "UF", "", OUTBOUND, GATEWAYS["remote"], "helloworld:5000", "connection refused")
    others = LogCount(20, 503, "UF", cluster="outbound|80||shop.sample.svc.cluster.local", upstream="10.0.0.1:80")
    left = LogCount(20, 0, "DC", cluster=OUTBOUND, authority="left:1")
    dead = Host(GATEWAYS["remote"], connect_failures=3, connections=3)
    quiet = Host("10.10.0.4:5000", connect_failures=3, connections=9)
    broken = also(proxies("primary", CLIENT, log=(refused, others, left)), holds("primary", dead, quiet))
    assert failing(broken(sound())) == [
        "20 requests of primary's sleep-1 to 10.89.0.2:15443 ended with 503 UF (connection refused)",
        "the sidecar of primary's sleep-1 failed 3 times to connect to 10.89.0.2:15443",
    ]
    assert failing(sound()) == []
