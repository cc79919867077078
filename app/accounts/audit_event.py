"""One event of the audit log, about one account."""

from __future__ import annotations

import msgspec


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to an account or was done with it; strings are empty where unknown."""

    time: float  # seconds since 1970
    event: str  # "sign-in", "failure", "end", "disable"
    account_id: str
    user: str  # the name of the account at that time
    actor: str = ""  # the name of who did it, if it was not the user
    actor_id: str = ""  # their account id; empty for the command line
    address: str = ""  # of the user, or of the actor
    method: str = ""  # the way of signing in
    reason: str = ""
    id: int = 0  # in the stored trail; 0 before it is stored

    @property
    def position(self) -> tuple[float, int]:
        """Where the event is in the trail; events before it have a smaller one."""
        return self.time, self.id
