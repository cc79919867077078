"""Operation: metrics, audit log, readiness, systemd, signing keys, the data folder.

Imports sessions, stores, settings and common.
"""
