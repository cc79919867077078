"""Pages: base class of handlers, session lookup, cookies, hosts, origins and security headers.

Imports accounts, database, rate_limits, services, sessions, settings, sign_in, socketio_client,
stores, transport and common.
"""
