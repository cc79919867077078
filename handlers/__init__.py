"""Your pages and sockets: one module per subject, named here.

A module may offer `routes` (as Tornado takes them), `namespaces` (pairs of a name and a
BaseNamespace class), `before_handshake(handler)`, which refuses a socket by raising
`tornado.web.HTTPError(401)`, `on_login(session)` and `on_session_end(session, reason)`.
"""

modules = ("counter", "sign_in", "account", "health")
