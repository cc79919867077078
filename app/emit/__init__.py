"""Emits of other programs, such as scripts and cron jobs: over Redis, or by the running process.

Imports ops, sessions, settings, stores and common.
"""

from app.emit.emitter import EmitFailed, Emitter

__all__ = ["EmitFailed", "Emitter"]
