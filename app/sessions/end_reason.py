"""The reasons for which a session ends."""

from __future__ import annotations

from typing import Literal

#: Why a session has ended, as clients, hooks, the audit log and the metrics are told:
#: "logout"       its user signed out;
#: "revoked"      a user, an operator or the program ended it, or its record was removed;
#: "idle"         no client was active for --session-idle-timeout;
#: "expired"      it reached its --session-max-age, however active its clients were;
#: "regenerated"  it goes on under a new id, which its browser has got at the sign-in.
EndReason = Literal["logout", "revoked", "idle", "expired", "regenerated"]
