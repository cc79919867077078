"""Who acts on the accounts of others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Actor:
    """An operator or an administrator, as the audit log names them."""

    name: str
    id: str = ""  # of their account; empty for the command line
    address: str = ""  # of their browser


#: Somebody who may use the control socket or the stores of the site.
COMMAND_LINE = Actor(name="command line")
