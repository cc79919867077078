"""The sockets of the operator's pages: what changes, while somebody looks at it."""

import asyncio
from typing import Any

import msgspec

from app.accounts import ADMIN
from app.devices import Device
from app.services import Services
from app.stores import StoreError
from handlers.admin.overview import overview
from handlers.session import BaseNamespace

_INTERVAL = 1.0  # seconds between two overviews
NAME = "/admin"


class AdminNamespace(BaseNamespace):
    """Tells a page that its account has changed, or sends it the overview once a second."""

    role_required = ADMIN

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self._accounts: dict[str, str] = {}  # the account that a page shows, by sid
        self._overviews: set[str] = set()  # sids of overviews
        self._sending: asyncio.Task[None] | None = None

    async def on_account(self, sid: str, id: Any) -> bool:
        """Send `changed` from now on when this account or one of its sessions has changed."""
        self._forget_page(sid)
        self._accounts[sid] = str(id)
        self.services.device_watchers.watch(str(id), sid, str, self._devices_changed)
        return True

    async def on_overview(self, sid: str) -> bool:
        """Send `overview` once a second from now on."""
        self._forget_page(sid)
        self._overviews.add(sid)
        if self._sending is None or self._sending.done():
            self._sending = self.services.background(self._send_overviews())
        return True

    def on_disconnect(self, sid: str) -> None:
        self._forget_page(sid)

    async def account_changed(self, account_id: str) -> None:
        """Tell the pages of an account that it was changed or deleted."""
        for sid, shown in list(self._accounts.items()):
            if shown == account_id:
                await self.emit("changed", to=sid)

    async def _devices_changed(self, sid: str, devices: list[Device]) -> None:
        await self.emit("changed", to=sid)

    async def _send_overviews(self) -> None:
        while self._overviews:
            try:
                shown = msgspec.to_builtins(await overview(self.services))
            except StoreError:
                shown = None  # the next one comes when the store is back
            for sid in list(self._overviews) if shown else []:
                await self.emit("overview", shown, to=sid)
            await asyncio.sleep(_INTERVAL)

    def _forget_page(self, sid: str) -> None:
        self._overviews.discard(sid)
        account_id = self._accounts.pop(sid, None)
        if account_id is not None:
            self.services.device_watchers.unwatch(account_id, sid)


async def on_account_changed(account_id: str, services: Services) -> None:
    """Let the pages of an account follow its changes, at whichever process they are made."""
    namespace = services.socket_server.made.find(NAME)
    if isinstance(namespace, AdminNamespace):
        await namespace.account_changed(account_id)


namespaces = [(NAME, AdminNamespace)]
