"""Changes of a cluster, the owner of each object, and the undo, which also works after a run was killed."""
