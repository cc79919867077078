"""The login session: its data, edits, lifetimes, expiry, and the manager of all sessions.

Knows neither Tornado nor Socket.IO. Imports stores and common.
"""
