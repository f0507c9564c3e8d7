"""Requests, the proxies that carry them, and what each of them logs and counts."""
