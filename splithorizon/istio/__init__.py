"""Istio as its objects describe it: names, the mesh and its clusters, remote secrets, certificates."""
