"""Operation: metrics, audit log, readiness, systemd, signing keys, the data folder.

Imports accounts, sessions, stores, settings and common.
"""
