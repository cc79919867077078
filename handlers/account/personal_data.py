"""What the site keeps about the user: a section of the account page, and a download."""

import json
from typing import Any

from tornado.web import HTTPError, authenticated

from app.accounts import Account
from app.web.recent_sign_in import is_recent, recent_sign_in
from handlers.account.section import AccountSection
from handlers.account.sections import DATA
from handlers.proof_again import PROOF_MINUTES

_SHOWN = 20  # events


class PersonalDataSection(AccountSection):
    """Base class of the section and of the download; both need a recent proof of the user."""

    section = DATA
    template = "account_data.html"
    page = DATA.path

    async def content(self) -> dict[str, Any]:
        account = await self.account()
        events = await self.services.audit_trail.of(account.id, _SHOWN)
        return {"account": account, "events": events}

    async def account(self) -> Account:
        """Return the account of the user; raises HTTPError 404 for a user without one."""
        account = await self.services.accounts.by_id(self.user_id)
        if account is None:
            raise HTTPError(404, "This site keeps no account for you: you sign in elsewhere.")
        return account

    def as_json(self, content: dict[str, Any]) -> dict[str, Any]:
        """Say where the data are."""
        return {"download": self.url("/account/data/download")}


class PersonalDataHandler(PersonalDataSection):
    """The section."""

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def get(self) -> None:
        await self.show()


class DownloadHandler(PersonalDataSection):
    """Sends the data as a file of JSON: the account, its sessions, and its audit events."""

    @authenticated
    async def get(self) -> None:
        if not self.wants_json and not is_recent(self, PROOF_MINUTES):
            # by way of the page, because a download leaves the browser where it is
            self.redirect(self.url(DATA.path), status=303)
            return
        await self._send()

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def _send(self) -> None:
        account = await self.account()
        found = await self.services.operator.export(account)
        self.services.audit.add(
            "data export", user=account.name, address=self.remote_address, user_id=account.id
        )
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("Content-Disposition", 'attachment; filename="account.json"')
        self.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


routes = [(r"/account/data", PersonalDataHandler), (r"/account/data/download", DownloadHandler)]
