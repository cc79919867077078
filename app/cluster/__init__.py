"""Several processes over one Redis: session ends, rooms, presence, device changes, rate limits.

Imports jobs, ops, presence, sessions, stores, transport and common. It needs the redis extra: only
`app.optional_cluster` imports it, for `--store redis`.
"""
