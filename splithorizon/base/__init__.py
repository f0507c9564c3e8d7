"""Processes, waiting, timeouts, files and errors: what every other package uses."""
