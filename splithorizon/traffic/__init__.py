"""Requests of the test clients, and what proxies and istiod report about them: access logs, statistics, endpoints."""
