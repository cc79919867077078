"""Administrators give and take roles."""

from app.accounts import Account
from handlers.admin.action import Action
from handlers.admin.admin_page import ADMIN

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
            await self.check_not_last(account)
            if self.is_self(account):
                return _OWN
            return f"Take the role admin from {account.name}? These pages are closed to them then."
        if add == ADMIN and ADMIN not in account.roles:
            return f"Give {account.name} the role admin? They may do everything then that you may."
        return ""

    async def act(self, account: Account) -> None:
        add, remove = self._changes()
        operator, actor = self.services.operator, self.actor
        await operator.set_roles(
            account, actor, add=[add] if add else [], remove=[remove] if remove else []
        )
        if remove == ADMIN and ADMIN in account.roles and not await self.administrators():
            # another administrator has lost the role at the same time
            await operator.set_roles(account, actor, add=[ADMIN])
        if self.is_self(account) and remove == ADMIN:
            self.answer_done(self.url("/"))
        else:
            self.done(account)

    def _changes(self) -> tuple[str, str]:
        add, remove = self.fields("add", "remove")
        return add.strip().lower(), remove.strip()


routes = [(r"/admin/accounts/([^/]+)/roles", RolesHandler)]
