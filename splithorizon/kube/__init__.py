"""The Kubernetes API of one cluster: requests, objects, commands and connections in pods."""
