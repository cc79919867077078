"""Administrators give and take roles."""

from app.accounts import ADMIN, Account
from handlers.admin.action import Action

_OWN = (
    "Take the role admin from yourself? These pages are closed to you then, and only another "
    "administrator, or the command line, can give it back."
)


class RolesHandler(Action):
    """Gives an account the role `add`, and takes the role `remove` from it; each may be empty."""

    form = notice = "roles"
    names = ("add", "remove")
    button = "Change the roles"

    async def question(self, account: Account) -> str:
        add, remove = self._changes()
        if remove == ADMIN and ADMIN in account.roles:
            if self.is_self(account):
                return _OWN
            return f"Take the role admin from {account.name}? These pages are closed to them then."
        if add == ADMIN and ADMIN not in account.roles:
            return f"Give {account.name} the role admin? They may do everything then that you may."
        return ""

    async def act(self, account: Account) -> None:
        add, remove = self._changes()
        await self.services.operator.set_roles(
            account,
            self.actor,
            add=[add] if add else [],
            remove=[remove] if remove else [],
            keep_an_admin=True,
        )
        if self.is_self(account) and remove == ADMIN:
            self.answer_done(self.url("/"))
        else:
            self.done(account)

    def _changes(self) -> tuple[str, str]:
        add, remove = self.fields("add", "remove")
        return add.strip().lower(), remove.strip()


routes = [(r"/admin/accounts/([^/]+)/roles", RolesHandler)]
