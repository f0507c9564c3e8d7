"""Conditions of a mesh that somebody else installed: read before the first write, each with its one consequence."""
