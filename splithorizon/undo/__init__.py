"""What a run changes in a cluster, who owns it, and how it is undone whatever dies in between."""
