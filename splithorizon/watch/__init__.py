"""Steady traffic while somebody changes a mesh: what was lost, what changed, and which change brackets which loss."""
