"""Why a mesh does not do what a behaviour claims: the known causes, and the readings that decide between them."""
