"""What administrators do with an account and its sessions."""

from app.accounts import Account
from handlers.admin.action import Action

_OWN = (
    " This is your own account: you are signed out at once, and only another administrator, or the "
    "command line, can undo it."
)


class DisableHandler(Action):
    """Disables an account and ends its sessions."""

    form = notice = "disabled"
    button = "Disable account"

    async def question(self, account: Account) -> str:
        own = _OWN if self.is_self(account) else ""
        return (
            f"Disable {account.name}? All sessions of the account end, and the user cannot sign "
            f"in until an administrator enables it.{own}"
        )

    async def act(self, account: Account) -> None:
        await self.services.operator.disable(account, self.actor, keep_an_admin=True)
        self.done(account)


class EnableHandler(Action):
    """Lets a disabled account sign in again."""

    form = notice = "enabled"

    async def act(self, account: Account) -> None:
        await self.services.operator.enable(account, self.actor)
        self.done(account)


class RenameHandler(Action):
    """Gives an account another name; its sessions end, because they show the old one."""

    form = notice = "renamed"
    names = ("name",)

    async def act(self, account: Account) -> None:
        (name,) = self.fields("name")
        await self.services.operator.rename(account, name, self.actor)
        self.done(account)


class ResetHandler(Action):
    """Makes a one-time link by which the user sets a new password; it is shown once."""

    form = notice = "reset"

    async def act(self, account: Account) -> None:
        link = await self.services.operator.reset_link(account, self.actor)
        url = link.url
        if url.startswith("/"):
            # the site does not know its address; the administrator alone sees that of the request
            url = f"{'https' if self.secure else 'http'}://{self.request.host}{url}"
        if self.wants_json:
            self.set_header("Cache-Control", "no-store")
            self.write({"link": url, "seconds": link.lifetime})
        else:
            minutes = link.lifetime // 60
            self.show("admin_link.html", account=account, link=url, minutes=minutes)


class TwoStepOffHandler(Action):
    """Turns two-step sign-in off, for a user who has lost the phone."""

    form = notice = "two-step"
    button = "Turn off two-step sign-in"

    async def question(self, account: Account) -> str:
        return (
            f"Turn off two-step sign-in of {account.name}? The password alone is enough then. Be "
            "sure that it is the user who asks for this."
        )

    async def act(self, account: Account) -> None:
        await self.services.operator.two_step_off(account, self.actor)
        self.done(account)


class DeleteHandler(Action):
    """Deletes an account and ends its sessions."""

    form = notice = "deleted"
    button = "Delete account"

    async def question(self, account: Account) -> str:
        own = _OWN if self.is_self(account) else ""
        return (
            f"Delete {account.name}? All sessions of the account end. This cannot be undone, and "
            f"anyone may register the name afterwards.{own}"
        )

    async def act(self, account: Account) -> None:
        await self.services.operator.delete(account, self.actor, keep_an_admin=True)
        self.answer_done(self.url("/admin/accounts", done="deleted"))


class EndSessionsHandler(Action):
    """Ends all sessions of an account."""

    form = notice = "sessions"
    button = "End all sessions"

    async def question(self, account: Account) -> str:
        own = " You are signed out, too." if self.is_self(account) else ""
        return f"End all sessions of {account.name}? They have to sign in anew everywhere.{own}"

    async def act(self, account: Account) -> None:
        await self.services.operator.end_user(account, self.actor)
        self.done(account)


class EndSessionHandler(Action):
    """Ends one session, which is named by its public id; one that has ended is no error."""

    form = notice = "session"
    names = ("session",)

    async def act(self, account: Account) -> None:
        (session,) = self.fields("session")
        await self.services.operator.end_session(account.id, session, self.actor)
        self.done(account)


routes = [
    (r"/admin/accounts/([^/]+)/disable", DisableHandler),
    (r"/admin/accounts/([^/]+)/enable", EnableHandler),
    (r"/admin/accounts/([^/]+)/rename", RenameHandler),
    (r"/admin/accounts/([^/]+)/reset", ResetHandler),
    (r"/admin/accounts/([^/]+)/two-step-off", TwoStepOffHandler),
    (r"/admin/accounts/([^/]+)/delete", DeleteHandler),
    (r"/admin/accounts/([^/]+)/end-sessions", EndSessionsHandler),
    (r"/admin/accounts/([^/]+)/end-session", EndSessionHandler),
]
