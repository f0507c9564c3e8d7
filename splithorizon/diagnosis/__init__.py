"""The known causes for which a mesh does not do what a behaviour claims, and the readings that decide between them."""
