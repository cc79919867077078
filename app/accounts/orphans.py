"""Sessions that no account may have, as a restore of the accounts leaves them."""

from __future__ import annotations

from collections.abc import Sequence

from app.accounts.account import is_account_id
from app.accounts.accounts import Accounts
from app.stores import Record


async def without_orphans(accounts: Accounts, records: Sequence[Record]) -> list[Record]:
    """Return those of these records that are visitors' or whose account may have them.

    An account that is missing, is disabled or has another name may not have the session: to
    delete, disable or rename an account ends its sessions. Users whose accounts are elsewhere keep
    theirs. Raises AccountsUnavailable.
    """
    ids = {record.user_id for record in records if record.user_id is not None}
    found = await accounts.by_ids(ids)

    def stays(record: Record) -> bool:
        account = found.get(record.user_id or "")
        if account is None:
            return not is_account_id(record.user_id or "")
        return account.disabled is None and record.user_name in (None, account.name)

    return [record for record in records if stays(record)]
