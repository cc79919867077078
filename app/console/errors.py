"""Why a command ends without its result."""

from __future__ import annotations


class Failed(Exception):
    """The command cannot be done; the message is for the operator. Exit code 1."""


class WrongCall(Exception):
    """The command was called in a wrong way; the message says what to write. Exit code 2."""
