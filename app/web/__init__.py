"""Pages: base class of handlers, session lookup, cookies, hosts, origins and security headers.

Imports services, sessions, stores, settings, limits, socketio_client, transport/http and common.
"""
