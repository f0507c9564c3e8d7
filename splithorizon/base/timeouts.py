"""Every duration of a run in seconds, with the reason for each; nowhere else is such a number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Timeouts:
    """How long each condition may take at most: measured on two noisy cores, and tripled."""

    small_command: float = 60  # reads of an engine or an API; seconds on a loaded machine
    engine_probe: float = 30  # one privileged container from an image of a few hundred bytes
    registry_answers: float = 3  # one in reach takes tenths of a second; the user waits for this
    image_pulled: float = 600  # a node image is close to a gigabyte
    image_step: float = 600  # one build, save, load or commit; the node image writes a gigabyte
    package_download: float = 900  # a node's Debian packages over a slow mirror
    go_download: float = 600  # module downloads for one component
    go_build: float = 2400  # Kubernetes takes 8 minutes alone and shares both cores with Istio
    other_build: float = 3600  # another process builds everything, on the same two cores
    tests_collected: float = 60  # another pytest imports every suite: 2 s, and the machine may be loaded
    killed_program: float = 10  # SIGKILL takes milliseconds; a program in the kernel's hands may take longer
    other_sweep: float = 120  # another process removes what one or two dead runs left
    cluster_created: float = 180  # measured 13 s alone, 25 s side by side
    network_settled: float = 30  # another run makes it, or looks whether it may go: tenths of a second
    cluster_deleted: float = 45  # both at once have to be gone within a minute of Ctrl-C
    images_loaded: float = 180  # 700 MB into a node's containerd
    istio_installed: float = 180  # measured 5 s; istioctl waits for istiod within
    namespace_gone: float = 60  # its pods end first; measured 5 to 12 s
    object_appears: float = 60  # an object that a controller makes once it has seen another
    gateway_address: float = 120  # a load balancer answers in seconds, a cloud's in a minute
    webhook_ready: float = 120  # istiod watches a new remote cluster and patches its webhooks
    workload_ready: float = 180  # images are there; scheduling, CNI and a first certificate
    endpoints_told: float = 30  # a push follows a ready pod within a second; a broken mesh is not waited for longer
    name_told: float = 15  # a resolver asks a silent server again after 5 s
    proxies_connected: float = 75  # after an istiod that went Envoy tries again, each time later, up to 30 s
    drained: float = 60  # Istio lets a replaced listener live for 45 s; our own workloads say 2
    log_flushed: float = 15  # a sidecar flushes its log every second; the kubelet adds some
    batch_sent: float = 60  # 1,000 requests take 2 s; where each hangs a while, enough have then shown it
    push_acknowledged: float = 10  # milliseconds; a proxy that changes its connection takes a second
    policy_enforced: float = 10  # a push takes a second; a mesh that never enforces it is not waited for longer
    stranger_refused: float = 15  # milliseconds through the API server; the kubelet tells a reset a second later
    request: float = 10  # one request through two sidecars and a gateway on a loaded machine
    test: float = 300  # the longest waits of its own, of its set-up and of its undo; most take a second
    disruptive_test: float = 1200  # the same, where istiod or an API server comes back: measured 20 to 120 s
    suite_run: float = 300  # the whole catalogue on a mesh that stands, where half of its requests hang
    fault_detected: float = 120  # a push takes a second, a new pod ten; a run of the suite takes ten more
    fault_healed: float = 180  # as above, and back-off of whatever could not connect meanwhile
    mesh_recovered: float = 90  # a push takes a second; a watch that was refused is tried again after 30 to 60
    secret_followed: float = 20  # istiod drops and lists a cluster within a second of its secret's change
    istiod_replaced: float = 120  # a new istiod waits for a silent remote, by default 30 s and twice: measured 60
    at_rest: float = 90  # a bare cluster: its node is ready after 15 s, and what kind adds is there by then
    uninstalled: float = 60  # the namespaces are empty after 10 to 30 s: a gateway takes its time to go
    pod_replaced: float = 60  # a gateway takes 30 s to go at most; measured 5 to 10 to come
    undo_retried: float = 60  # an API server that restarts, or a network that drops, is back within half a minute
    lease_renewed: float = 15  # three renewals may fail before the Lease expires
    lease_expires: float = 60  # long enough for an API server to restart, short enough to wait for a dead run
    namespace_expires: float = 86400  # a run takes minutes: after a day nobody comes back for its namespace
    traffic_watched: float = 5  # what a recovery may still lose afterwards comes within the next push
    certificate_still_valid: float = 3600  # they live a day, and are renewed long before the last hour
    dial: float = 3  # a refusal comes at once; a dropped packet hangs until here
    diagnosis_read: float = 10  # one reading of a mesh of 500 services; a dead cluster is not waited for longer
    heartbeat: float = 8  # a line at least every 10 s
    poll: float = 0.5  # between two looks at what takes long; the first follow each other sooner

    def scaled(self, factor: float) -> Timeouts:
        """Every deadline times ``factor``; what the user sees, what others rely on and how often we look stay."""
        fixed = {
            "registry_answers", "heartbeat", "poll", "dial", "certificate_still_valid", "diagnosis_read",
            "lease_renewed", "lease_expires", "namespace_expires",
        }  # fmt: skip
        scaled = {field.name: getattr(self, field.name) * factor for field in fields(self)}
        return Timeouts(**{**scaled, **{name: getattr(self, name) for name in fixed}})


_current = Timeouts()


def current() -> Timeouts:
    """The durations in force."""
    return _current


@contextmanager
def shortened(factor: float) -> Iterator[None]:
    """Multiply every deadline in force for as long as the block lasts."""
    global _current
    before = _current
    _current = before.scaled(factor)
    try:
        yield
    finally:
        _current = before


def scale(factor: float) -> None:
    """Set the factor, once, from --timeout-scale."""
    global _current
    _current = Timeouts().scaled(factor)
