"""Reads a mesh once: objects, control planes and proxies, as plain data."""
