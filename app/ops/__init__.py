"""Operation: metrics, audit log, readiness, systemd, signing keys, backup and restore.

Imports sessions, stores, settings and common.
"""
