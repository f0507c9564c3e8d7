"""Groups of behaviours that one condition takes out of judgement together, by the names of their modules."""

from __future__ import annotations

OF_SEVERAL_PRIMARIES = "test_a_rule_binds_the_clients_of_its_own_primary"
OF_AN_ISTIOD_AWAY = "test_an_istiod_away_leaves_other_primaries_alone"
OF_A_WATCH_BESIDE_ANOTHER = "test_removing_a_remote_secret_keeps_other_gateways"
OF_A_MANAGED_CLUSTER = (
    "test_new_proxies_reach_istiod",
    "test_remote_finds_istiod_behind_the_gateway",
)
"""Those of a cluster whose istiod is in another one."""

PROTOCOLS = (
    "test_grpc_calls_are_answered",
    "test_http2_stays_http2",
    "test_large_bodies_arrive_whole",
    "test_long_waits_are_waited_out",
    "test_silent_connections_stay_open",
    "test_tcp_is_passed_on_unread",
)
"""Those that call the echo Service."""

LOGGED = (
    "test_each_hop_of_a_far_answer_is_logged",
    "test_each_version_takes_its_own_path",
    "test_headless_service_stays_at_home",
    "test_identity_crosses_the_gateway",
    "test_local_traffic_stays_local",
    "test_subsets_keep_clients_in_their_cluster",
    "test_cluster_local_service_stays_at_home",
    "test_clients_fail_over_to_the_other_network",
)
"""Those that read the access log of the run's own sidecars."""

ANSWERED = (
    *LOGGED,
    OF_SEVERAL_PRIMARIES,
    "test_answers_follow_the_weights",
    "test_both_versions_answer",
    "test_gateway_passes_to_its_own_pods",
    "test_new_connections_reach_the_far_network",
    "test_a_bad_remote_secret_harms_nothing_near",
    "test_a_corrected_gateway_address_heals",
    "test_a_mended_remote_secret_is_followed",
    "test_a_removed_remote_secret_is_forgotten_and_found_again",
    "test_a_restarted_istiod_loses_nothing",
    "test_a_rotated_remote_secret_loses_nothing",
    "test_all_gateway_pods_may_go_and_come_back",
    "test_an_istiod_away_leaves_other_primaries_alone",
    "test_an_exchanged_remote_secret_is_followed",
    "test_istiod_starts_without_the_remotes_api_server",
    "test_one_of_two_gateway_pods_may_go",
    "test_removing_a_remote_secret_keeps_other_gateways",
)
"""Those that need answers of helloworld."""

ISTIOD_ASKED = (
    "test_every_cluster_is_watched",
    "test_every_proxy_is_synced",
    "test_proxy_versions_are_supported",
    "test_networks_are_named_alike_everywhere",
    "test_a_removed_remote_secret_is_forgotten_and_found_again",
    "test_removing_a_remote_secret_keeps_other_gateways",
    "test_istiod_starts_without_the_remotes_api_server",
    "test_a_mended_remote_secret_is_followed",
    "test_an_exchanged_remote_secret_is_followed",
    "test_a_rotated_remote_secret_loses_nothing",
    "test_a_bad_remote_secret_harms_nothing_near",
    "test_a_restarted_istiod_loses_nothing",
)
"""Those that read istiod's debug endpoints."""

BY_ISTIODS_ADDRESS = (
    "test_remote_finds_istiod_behind_the_gateway",
    "test_new_proxies_reach_istiod",
    "test_served_chains_last",
    "test_webhooks_trust_the_mesh_root",
)
"""Those that judge how proxies and API servers reach istiod, and what they trust there."""

ISTIOD_READ = (*ISTIOD_ASKED, "test_control_plane_is_ready", "test_remote_credentials_last")
"""Those that read istiod's debug endpoints, its pods or its remote secrets."""

DISRUPTIVE = (
    "test_a_bad_remote_secret_harms_nothing_near",
    "test_a_corrected_gateway_address_heals",
    "test_a_mended_remote_secret_is_followed",
    "test_a_removed_remote_secret_is_forgotten_and_found_again",
    "test_a_restarted_istiod_loses_nothing",
    "test_a_rotated_remote_secret_loses_nothing",
    "test_all_gateway_pods_may_go_and_come_back",
    "test_an_exchanged_remote_secret_is_followed",
    "test_an_istiod_away_leaves_other_primaries_alone",
    "test_clients_fail_over_to_the_other_network",
    "test_istiod_starts_without_the_remotes_api_server",
    "test_one_of_two_gateway_pods_may_go",
    "test_removing_a_remote_secret_keeps_other_gateways",
)
"""Those of the profile disruptive: they take parts of the mesh away, and measure how istiod takes it."""

OF_A_WATCH = tuple(one for one in DISRUPTIVE if one not in (OF_AN_ISTIOD_AWAY, OF_A_WATCH_BESIDE_ANOTHER))
"""Those that need the watch of a cluster that is alone on its network."""
