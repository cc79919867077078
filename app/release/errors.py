"""Why the command stops."""

from __future__ import annotations


class WrongCall(Exception):
    """The command was called in a wrong way, or its file is wrong; exit code 2."""


class Stopped(Exception):
    """A step failed; the message says which, and what the operator can do."""


class Interrupted(Exception):
    """The operator interrupted the command."""


class StoppedHalfway(Exception):
    """Neither the new release nor the old one serves everywhere; the operator has to act."""
