"""A mesh, its clusters and their clients: what a test holds."""
