"""Whether two networks are separate."""

from __future__ import annotations

from splithorizon.base import timeouts
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import CheckFailed, Evidence
from splithorizon.diagnosis import causes
from splithorizon.istio.topology import Route
from splithorizon.traffic.client import Attempt

# No answer at all, or the one of the client's sidecar when it cannot connect.
_NOBODY = {0, 503}


def networks_are_separate(route: Route, *, near: Attempt, far: Attempt, refused: bool) -> Evidence:
    """The near pod answers at its own address, and the far pod does not at its own.

    ``refused`` where the network itself must refuse at once, as the lab's networks do; others may drop packets.
    """
    if not near.reached:
        raise EnvironmentBroke(
            f"{route}: even the pod of the client's own network is not reached at its address",
            seen=f"{near.target.name} at {near.target.ip}: {near.error or near.status}",
            next_command=f"kubectl <{route.near}> -n <namespace> get pods -o wide",
        )
    dial = timeouts.current().dial
    silent = far.seconds >= dial
    by_hand = f"kubectl <{route.near}> -n <namespace> exec deploy/sleep -c sleep -- curl -sv -m {dial:g} {far.asked}"
    if refused and silent and far.status in _NOBODY:
        raise CheckFailed(
            f"{route}: the networks are separate",
            expected=f"{far.target.ip} refused at once",
            seen=f"no answer from {far.target.ip} until it was given up after {far.seconds:.2f} s",
            samples=2,
            causes=(causes.PACKETS_LEAVE,),
            next_command=by_hand,
            where=route,
        )
    if far.status not in _NOBODY:
        raise CheckFailed(
            f"{route}: the networks are separate",
            expected=f"no answer from {far.target.ip} but through a gateway",
            seen=f"{far.target.name if far.reached else 'somebody'} answered {far.status} at {far.target.ip} after "
            f"{far.seconds:.2f} s",
            samples=2,
            causes=(causes.NETWORKS_JOINED,) if far.reached else (causes.POD_RANGE_IN_USE,),
            next_command=by_hand,
            where=route,
        )
    return Evidence(
        f"{route}: the networks are separate",
        f"{'no answer' if silent else 'refused'} in {far.seconds:.2f} s",
        {"seconds": far.seconds, "status": far.status, "error": far.error},
        addresses=(near.target.ip, far.target.ip),
    )
