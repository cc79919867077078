"""The page of one account: facts, sessions, audit events, and the forms of actions."""

from typing import Any

import msgspec

from app.accounts import ADMIN, Account
from app.devices.user_agents import device_name
from app.operator import AccountRow, EventRow, SessionRow
from handlers.admin.admin_page import AdminPage

_EVENTS = 30
#: What a page says after a form: the sentence for the query `done=NAME`.
NOTICES = (
    ("disabled", "The account is disabled, and all of its sessions have ended."),
    ("enabled", "The account may sign in again."),
    ("renamed", "The account has its new name, and all of its sessions have ended."),
    ("roles", "The roles are changed."),
    ("two-step", "Two-step sign-in is off: the password is enough."),
    ("session", "The session has ended."),
    ("sessions", "All sessions of the account have ended."),
    ("stopped", "You are yourself again."),
)


class AccountPage(AdminPage):
    """A page of one account."""

    async def state(self, account: Account) -> dict[str, Any]:
        """Return what changes by itself: facts, sessions and audit events."""
        events = await self.services.audit_trail.of(account.id, _EVENTS)
        return {
            "row": AccountRow.of(account),
            "sign_in": await self.services.operator.sign_in(account),
            "sessions": await self.services.operator.sessions(account.id),
            "events": [EventRow.of(event) for event in events],
            "session_name": session_name,
        }

    async def show_account(self, account: Account, *, wrong: str = "", form: str = "") -> None:
        """Write the page; `wrong` is the error of the form named `form`."""
        state = await self.state(account)
        if self.wants_json:
            self.set_header("Cache-Control", "no-store")
            rows = {name: state[name] for name in ("sign_in", "sessions", "events")}
            self.write(msgspec.to_builtins({"account": state["row"], **rows}))
            return
        self.show(
            "admin_account.html",
            **state,
            notice=dict(NOTICES).get(self.get_query_argument("done", ""), ""),
            wrong=wrong,
            form=form,
            is_self=account.id == self.session.user_id,
            may_be_used=account.disabled is None and ADMIN not in account.roles,
        )


class AccountHandler(AccountPage):
    """The page."""

    async def get(self, id: str) -> None:
        await self.show_account(await self.account(id))


class StateHandler(AccountPage):
    """The part of the page that changes, which its script fetches; it is no activity."""

    is_activity = False

    async def get(self, id: str) -> None:
        account = await self.account(id)
        self.show("admin_account_live.html", **await self.state(account))


def session_name(row: SessionRow) -> str:
    """Return what a session is, in words."""
    if row.actor:
        return f"Administrator {row.actor}, signed in as this user"
    return device_name(row.browser, row.system)


routes = [
    (r"/admin/accounts/([^/]+)", AccountHandler),
    (r"/admin/accounts/([^/]+)/state", StateHandler),
]
