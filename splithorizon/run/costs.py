"""What a run costs the mesh that it judges, as data: seconds of each behaviour's check, and what istiod pushes.

The seconds are medians of the conformant checks in the reports of 27 November 2026, and means of those of 28 November
for what changed then, on kind clusters that shared two cores with other work. What several behaviours wait for
together stands with the first of them. ``docs/measurements.md`` has how long whole runs take.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SET_UP = 20.0
"""From the first write until the workloads are ready, with images that the nodes hold."""
REMOVAL = 10.0
"""The namespaces' deletion: measured 5 to 12 s."""
DISRUPTIVE = 60.0
"""One check that disrupts and restores: measured 20 to 120 s."""
UNMEASURED = 1.0
"""One check of a behaviour without a measurement: most take less."""

SECONDS: Mapping[str, float] = MappingProxyType(
    {
        "test_answers_follow_the_weights": 8.6,
        "test_endpoints_are_near_pods_and_the_far_gateway": 0.3,
        "test_every_cluster_is_watched": 0.2,
        "test_every_proxy_is_synced": 0.1,
        "test_gateway_weighs_as_much_as_its_pods": 0.3,
        "test_networks_are_named_alike_everywhere": 0.6,
        "test_remote_finds_istiod_behind_the_gateway": 0.3,
        "test_root_certificate_is_the_same": 0.3,
        "test_webhooks_trust_the_mesh_root": 0.1,
        "test_new_pods_are_injected": 0.3,
        "test_new_proxies_reach_istiod": 0.5,
        "test_remote_credentials_last": 0.2,
        "test_served_chains_last": 0.6,
        "test_networks_are_separate": 0.3,
        "test_each_version_runs_in_one_cluster": 0.1,
        "test_control_plane_is_ready": 0.1,
        "test_gateways_are_ready": 0.1,
        "test_workloads_are_ready": 0.1,
        "test_both_versions_answer": 0.1,
        "test_cluster_local_service_stays_at_home": 11.1,
        "test_each_hop_of_a_far_answer_is_logged": 0.2,
        "test_each_version_takes_its_own_path": 0.1,
        "test_gateway_passes_to_its_own_pods": 0.1,
        "test_grpc_calls_are_answered": 1.5,
        "test_headless_service_stays_at_home": 1.5,
        "test_http2_stays_http2": 1.9,
        "test_large_bodies_arrive_whole": 0.1,
        "test_local_traffic_stays_local": 0.9,
        "test_long_waits_are_waited_out": 4.4,
        "test_new_connections_reach_the_far_network": 1.3,
        "test_silent_connections_stay_open": 0.1,
        "test_subsets_keep_clients_in_their_cluster": 0.1,
        "test_tcp_is_passed_on_unread": 1.5,
        "test_gateway_knows_only_its_services": 2.2,
        "test_identity_crosses_the_gateway": 0.1,
        "test_one_root_is_served_by_both_gateways": 0.1,
        "test_plain_text_is_refused": 0.1,
        "test_strangers_are_refused": 0.1,
        "test_workloads_are_known_by_their_own_certificates": 0.4,
    }
)
"""One check of each behaviour that is measured, by its name."""

PUSHED = frozenset(
    {
        "AuthorizationPolicy", "Deployment", "DestinationRule", "EnvoyFilter", "Pod", "Service", "Sidecar", "Telemetry",
        "VirtualService",
    }
)  # fmt: skip
"""The kinds whose change istiod pushes; a Deployment's and a Pod's are endpoints of Services."""
OF_DISRUPTIVE = 2
"""The pushes that a check which disrupts causes at least: by the change and by its undo."""
