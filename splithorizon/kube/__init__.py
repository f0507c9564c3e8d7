"""The Kubernetes API of one cluster: requests, objects, exec and port-forward."""
