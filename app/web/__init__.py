"""Pages: base class of handlers, session lookup, cookies, hosts, origins and security headers.

Imports services, sessions, stores, settings, limits, assets, transport/http and common.
"""
