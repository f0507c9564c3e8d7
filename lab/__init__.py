"""Makes clusters and a mesh: engine, images, kind, Istio."""
