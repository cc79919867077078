"""The list of accounts: search by name, address or id, page by page."""

import msgspec

from app.accounts import Account
from app.operator import AccountRow
from handlers.admin.admin_page import AdminPage

_PAGE = 50  # accounts


class AccountsHandler(AdminPage):
    """Shows accounts in the order of their names."""

    async def get(self) -> None:
        search = self.get_query_argument("search", "")
        after = self.get_query_argument("after", "")
        found = await self._found(search, after)
        rows = [AccountRow.of(account) for account in found[:_PAGE]]
        more = rows[-1].name if len(found) > _PAGE else None
        if self.wants_json:
            self.set_header("Cache-Control", "no-store")
            self.write({"accounts": msgspec.to_builtins(rows), "after": more})
            return
        total = await self.services.operator.list.count(search=search)
        deleted = self.get_query_argument("done", "") == "deleted"
        self.show(
            "admin_accounts.html",
            rows=rows,
            search=search,
            after=after,
            more=more,
            total=total,
            notice="The account is deleted." if deleted else "",
        )

    async def _found(self, search: str, after: str) -> list[Account]:
        """Return one account more than a page has, if there are so many."""
        if search and not after and (account := await self.services.accounts.by_id(search.strip())):
            return [account]
        return await self.services.operator.list.page(
            search=search.strip(), after=after, limit=_PAGE + 1
        )


routes = [(r"/admin/accounts", AccountsHandler)]
