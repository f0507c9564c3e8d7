"""Every check, by name: `splithorizon.checks` has them, and imports them when the first is asked for."""

from splithorizon.checks.cleanup import as_before_installation, every_cluster_as_before
from splithorizon.checks.discovery import (
    answers_follow_weights,
    endpoints_split_at_the_horizon,
    every_cluster_watched,
    every_proxy_synced,
    istiod_found_behind,
    naming_chain_is_whole,
    remote_secrets_usable,
    weights_follow,
)
from splithorizon.checks.gateway import gateway_passes_to_own_pods
from splithorizon.checks.hops import each_hop_leads_to_the_next
from splithorizon.checks.judging import CheckFailed, Evidence
from splithorizon.checks.latent import (
    chains_last,
    istiod_reached,
    new_pod_injected,
    remote_credentials_last,
    webhooks_lead_to_istiod,
)
from splithorizon.checks.losses import new_connections_made, no_hidden_attempts
from splithorizon.checks.matched import every_reply_matched
from splithorizon.checks.networks import networks_are_separate
from splithorizon.checks.paths import path_proof
from splithorizon.checks.placement import versions_run_only_in
from splithorizon.checks.protocols import carried
from splithorizon.checks.readiness import absent, istiod_runs_only_in, kept_running, ready
from splithorizon.checks.resilience import (
    answered_as_it_should,
    failed_over,
    far_endpoints_left,
    gateway_recovered,
    goes_on_alone,
    istiod_started,
    losses_counted,
    new_pod_answers,
    new_token_followed,
    nothing_lost,
    other_gateways_stay,
    prefers_own_network,
    recovered,
    scaled,
    wrong_address_followed,
)
from splithorizon.checks.roots import roots_agree, webhooks_hold_root
from splithorizon.checks.routing import (
    all_answered,
    both_versions_answer,
    local_traffic_stays,
    rule_binds_own_clients,
    stays_in_cluster,
)
from splithorizon.checks.security import (
    admission_follows_identity,
    chain_leads_to_root,
    gateway_knows_only_services,
    plain_text_refused,
    strangers_refused,
    workloads_known_by_their_own,
)
from splithorizon.checks.versions import proxy_versions_supported

__all__ = [
    "CheckFailed",
    "Evidence",
    "absent",
    "admission_follows_identity",
    "all_answered",
    "answered_as_it_should",
    "answers_follow_weights",
    "as_before_installation",
    "both_versions_answer",
    "carried",
    "chain_leads_to_root",
    "chains_last",
    "each_hop_leads_to_the_next",
    "endpoints_split_at_the_horizon",
    "every_cluster_as_before",
    "every_cluster_watched",
    "every_proxy_synced",
    "every_reply_matched",
    "failed_over",
    "far_endpoints_left",
    "gateway_knows_only_services",
    "gateway_passes_to_own_pods",
    "gateway_recovered",
    "goes_on_alone",
    "istiod_found_behind",
    "istiod_reached",
    "istiod_runs_only_in",
    "istiod_started",
    "kept_running",
    "local_traffic_stays",
    "losses_counted",
    "naming_chain_is_whole",
    "networks_are_separate",
    "new_connections_made",
    "new_pod_answers",
    "new_pod_injected",
    "new_token_followed",
    "no_hidden_attempts",
    "nothing_lost",
    "other_gateways_stay",
    "path_proof",
    "plain_text_refused",
    "prefers_own_network",
    "proxy_versions_supported",
    "ready",
    "recovered",
    "remote_credentials_last",
    "remote_secrets_usable",
    "roots_agree",
    "rule_binds_own_clients",
    "scaled",
    "stays_in_cluster",
    "strangers_refused",
    "versions_run_only_in",
    "webhooks_hold_root",
    "webhooks_lead_to_istiod",
    "weights_follow",
    "workloads_known_by_their_own",
    "wrong_address_followed",
]
