"""Every timeout and interval of a run in seconds, each with its reason; other modules define none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace


@dataclass(frozen=True)
class WatchTimes:
    """The intervals and waits of a watch; ``--timeout-scale`` leaves them as they are, because reports state them."""

    pods_read: float = 2  # pods and addresses: a loss may follow at once; more often would load the API server
    metadata_read: float = 6  # Secrets, webhooks, roll-outs: their loss comes through pods or pushes, seconds later
    proxies_read: float = 30  # istiod lists every proxy of the mesh: with thousands that is a large answer
    queue_read: float = 0.25  # between two rounds of the accounting: the end of a watch is noticed within this
    request_every: int = 3  # of one curl process: more than a request may take, or its next one would be late
    request_takes: float = 2.9  # at most: a TCP handshake whose first packet is lost takes 1 s, its second one 3 s
    sender_ends: int = 5  # its grace period: the shell ends at once, the sidecar drains for about so long
    sender_ready: int = 5  # before the other sender is replaced: until then the new one is listed and its log read
    path_logged: float = 10  # a sidecar flushes its log every second; a busy kubelet and API server add some
    path_forgotten: float = 30  # a line of the access log without a result: three times the above
    order_known: float = 2  # beside what a request and its line take: a busy machine reads both logs unevenly
    clock_known: float = 3  # lines of before the connection arrive at once, and later than new ones by their stamps
    last_results: float = 4  # after the end: the longest request that was under way, and its way here
    log_missed: float = 120  # a log that cannot be read for longer holds up the other senders' requests no more
    log_silent: float = 15  # a sender writes several lines a second: the connection is dead
    log_asked_again: float = 1  # an API server that restarts is not asked more often
    event_settles: float = 10  # a roll-out's next pod follows within this: both are one event
    event_reacts: float = 10  # a loss may begin so long after an event: istiod pushes, and proxies drain, by then
    loss_quiet: float = 5  # a loss ends without another lost request for so long: more than the interval of one curl
    unseen: float = 2  # no request for so long: at the lowest rate one begins at least every second


@dataclass(frozen=True)
class Timeouts:
    """The time that each condition may take at most: measured on two busy cores, times three."""

    small_command: float = 60  # a read from an engine or an API: seconds on a loaded machine
    engine_probe: float = 30  # one privileged container from an image of about 2 MB
    exec_started: float = 10  # runc lost its own first process twice in a day on a busy machine; it starts in tenths
    exec_plugin: float = 120  # a person types a password or confirms on a phone; a plug-in alone takes a second
    read_repeated: float = 15  # an API server behind a load balancer is back within seconds; a rollout takes longer
    registry_answers: float = 3  # a reachable registry answers within tenths of a second; the user waits for this
    image_pulled: float = 600  # a node image is close to a gigabyte
    image_step: float = 600  # one build, save, load or commit; the node image writes a gigabyte
    package_download: float = 900  # a node's Debian packages from a slow mirror
    go_download: float = 600  # module downloads for one component
    go_build: float = 2400  # Kubernetes takes 8 minutes alone, and shares both cores with Istio's build
    other_build: float = 3600  # another process builds all images, on the same two cores
    tests_collected: float = 60  # another pytest imports every suite: 2 s, more on a loaded machine
    program_killed: float = 10  # SIGKILL takes milliseconds; a program inside a system call may take longer
    other_sweep: float = 120  # another process removes what one or two dead runs left
    cluster_created: float = 180  # measured 13 s alone, 25 s in parallel
    engine_network_unlocked: float = 30  # another run creates or removes the network: tenths of a second
    cluster_deleted: float = 45  # both clusters together have to be deleted within a minute of Ctrl-C
    images_loaded: float = 180  # 700 MB into a node's containerd
    istio_installed: float = 180  # measured 5 s; istioctl waits for istiod meanwhile
    namespace_gone: float = 60  # its pods end first; measured 5 to 12 s
    object_appears: float = 60  # an object that a controller creates after another one
    gateway_address: float = 120  # a local load balancer takes seconds, a cloud's a minute
    webhook_ready: float = 120  # istiod starts to watch a new remote cluster and patches its webhooks
    workload_ready: float = 180  # the images are on the node; scheduling, CNI and a first certificate
    nothing_changes: float = 45  # an image that is not pulled, or a pod that is refused, is tried again meanwhile
    node_added: float = 600  # a cloud's autoscaler takes two to five minutes
    endpoints_pushed: float = 30  # istiod pushes within a second of a pod's readiness; a broken mesh never does
    name_resolved: float = 15  # a resolver asks a silent DNS server again after 5 s
    name_expired: float = 60  # istiod resolves a gateway's name again when the answer expires, after 30 s at least
    proxies_connected: float = 75  # after the end of its istiod Envoy reconnects with a back-off of up to 30 s
    drained: float = 60  # Istio drains a replaced listener for 45 s by default; our own workloads set 2 s
    log_flushed: float = 15  # a sidecar flushes its log every second; the kubelet adds some
    log_looked_at_again: float = 3  # the same, of a log that had no line of the batch before: it is off
    slow_requests: float = 12  # whole seconds of a batch's requests: a hang and two slow ones, or twelve slow ones
    batch_sent: float = 60  # 1,000 requests take 2 s; where each of them hangs, this many show it
    push_acknowledged: float = 10  # milliseconds; a second for a proxy that reconnects
    policy_enforced: float = 10  # a push takes a second; a broken mesh never enforces the policy
    untrusted_client_refused: float = 15  # milliseconds; the kubelet reports a reset a second later
    healthy_or_not: float = 10  # a mesh that answers the same for so long, ten pushes, goes on to do so
    request: float = 10  # one request through two sidecars and a gateway on a loaded machine
    new_connection: float = 5  # milliseconds; a SYN that gets lost is sent again after 1, 2, 3 and 4 s
    test: float = 300  # the longest waits of a test with set-up and undo; most tests take a second
    disruptive_test: float = 1200  # the same, while istiod or an API server restarts: measured 20 to 120 s
    suite_run: float = 300  # all suites on an installed mesh where half of the requests hang
    fault_detected: float = 120  # a push takes a second, a new pod ten, a run of the suite ten more
    fault_healed: float = 180  # as above, and the back-off of clients that could not connect meanwhile
    mesh_recovered: float = 90  # a push takes a second; a refused watch is tried again after 30 to 60 s
    secret_processed: float = 20  # istiod drops and lists a cluster within a second of a change of its secret
    istiod_replaced: float = 120  # a new istiod waits twice, by default 30 s, for an unreachable remote: measured 60 s
    bare_cluster_settled: float = 90  # a node is ready after 15 s; kind's own workloads run by then
    uninstalled: float = 60  # the namespaces are empty after 10 to 30 s, because a gateway drains
    pod_removed: float = 15  # after its grace period, which is its own: the kubelet kills it, and takes it away
    pod_replaced: float = 60  # a gateway drains for at most 30 s; a new pod takes 5 to 10 s
    undo_retried: float = 60  # an API server or a network is usually back within half a minute
    lease_renewed: float = 15  # three renewals may fail before the Lease expires
    lease_expires: float = 60  # longer than a restart of an API server; others wait this long after a killed run
    namespace_expires: float = 86400  # a run takes minutes: after a day its namespace is a leftover
    traffic_watched: float = 5  # a loss that a recovery still causes comes with the next push
    certificate_still_valid: float = 3600  # workload certificates live a day and are renewed long before the last hour
    certificate_lives: float = 2700  # the shortest life in use is an hour (istio-csr): less leaves no time to mend a CA
    dial: float = 3  # a refused connection fails at once; a dropped packet takes the whole time
    access_reviewed: float = 20  # a hundred reviews one after the other: milliseconds each
    diagnosis_read: float = 10  # one reading of a mesh of 500 services; a dead cluster is not waited for longer
    diagnostics_collected: float = 30  # the logs and dumps of two clusters; what is not read by then is listed
    heartbeat: float = 8  # a line of progress at least every 10 s
    watch: WatchTimes = field(default_factory=WatchTimes)
    poll: float = 0.5  # between two attempts of a long wait; the first attempts follow each other sooner

    def scaled(self, factor: float) -> Timeouts:
        """Multiply the deadlines by ``factor``; leave progress output, Leases, expiry and intervals as they are."""
        fixed = {
            "registry_answers", "heartbeat", "poll", "dial", "certificate_still_valid", "certificate_lives",
            "diagnosis_read", "diagnostics_collected",
            "lease_renewed", "lease_expires", "namespace_expires", "watch",
        }  # fmt: skip
        scaled = {one.name: getattr(self, one.name) * factor for one in fields(self) if one.name not in fixed}
        return replace(self, **scaled)


_current = Timeouts()


def current() -> Timeouts:
    """The timeouts in force."""
    return _current


@contextmanager
def shortened(factor: float) -> Iterator[None]:
    """Multiply the deadlines in force by ``factor`` for the duration of the block."""
    global _current
    before = _current
    _current = before.scaled(factor)
    try:
        yield
    finally:
        _current = before


def scale(factor: float) -> None:
    """Multiply the default deadlines by ``factor``, which is ``--timeout-scale``, for the rest of the process."""
    global _current
    _current = Timeouts().scaled(factor)
