"""Several processes over one Redis: session ends, rooms, presence, device changes, rate limits.

Imports sessions, stores, transport, ops (keys) and common. It needs the redis extra: only
`app.optional_cluster` imports it, for `--store redis`.
"""
