"""The numbers of a site: accounts, sessions, connections and sign-ins."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from app.accounts import AccountList, AuditTrail
from app.devices import Devices
from app.operator.session_list import SessionList

_HOUR = 3600.0


class SiteStats:
    """Counts by queries and by a scan of the session store."""

    def __init__(
        self, accounts: AccountList, sessions: SessionList, devices: Devices, trail: AuditTrail
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._devices = devices
        self._trail = trail

    async def read(self) -> dict[str, Any]:
        """Return the numbers, for JSON; raises DatabaseUnavailable or StoreUnavailable."""
        now = time.time()
        processes = await self._devices.presence.processes()
        return {
            "accounts": await self._accounts.count(),
            "disabled": await self._accounts.count(disabled=True),
            **msgspec.to_builtins(await self._sessions.counts()),
            "connections": sum(connections for _, connections in processes),
            "processes": [
                {"number": int(number) if number else None, "connections": connections}
                for number, connections in processes
            ],
            "sign_ins": {
                "hour": await self._trail.count("sign-in", now - _HOUR),
                "day": await self._trail.count("sign-in", now - 24 * _HOUR),
            },
        }
