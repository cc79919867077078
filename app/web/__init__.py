"""A page: base class of handlers, session lookup, cookies, origins and security headers."""
