"""The page of a run: what ``report.json`` has, for people."""
