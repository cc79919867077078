"""Several processes over one Redis: session ends, rooms, presence, device changes, rate limits.

Imports sessions, stores, transport, ops (keys) and common. Only `app.application` imports it, with
`--store redis`, since it needs the redis extra.
"""
