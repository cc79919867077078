"""Backup and restore of all that a site keeps: data folder, PostgreSQL, sessions in Redis, keys.

Imports accounts, database, ops, stores, settings and common.
"""
