"""Small helpers for every room: background tasks, guarded loops, listeners, rate-limited log.

Imports nothing else of app. It needs no package: `app.release` runs where none is installed.
"""
