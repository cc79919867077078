"""Accounts: names and passwords, their database, and the command that adds an account.

Imports settings, stores and common.
"""

from app.accounts.accounts import Accounts, AccountsUnavailable, AddressBusy
from app.accounts.passwords import InvalidAccount, NameTaken, account_key
from app.accounts.table import Proof

__all__ = [
    "Accounts",
    "AccountsUnavailable",
    "AddressBusy",
    "InvalidAccount",
    "NameTaken",
    "Proof",
    "account_key",
]
