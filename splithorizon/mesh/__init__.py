"""Istio as a primary and a remote on two networks: trust, installation, gateways, remote secret."""
