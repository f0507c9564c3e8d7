"""What can be taken away from a mesh, how it is restored, and how long a recovery takes."""
