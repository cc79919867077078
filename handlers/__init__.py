"""Your pages and sockets: one module per subject, listed here.

`app/extensions.py` describes what a module may offer: `routes`, `namespaces`, `before_handshake`,
`on_login` and `on_session_end`.
"""

modules = ("counter", "sign_in", "signed_in", "account", "health")
