"""The error of a backup or a restore."""

from __future__ import annotations


class BackupError(Exception):
    """A backup or restore failed; the message says why and what to do."""
