"""Accounts: names and passwords, roles, their database, and the command that adds an account.

Imports database, settings, stores and common.
"""

from app.accounts.account import Account, Identity, is_account_id
from app.accounts.accounts import Accounts, open_database
from app.accounts.calls import AccountsUnavailable, AddressBusy, DatabaseCalls
from app.accounts.database import accounts as accounts_table
from app.accounts.old_names import OldNames
from app.accounts.one_time_links import OneTimeLinks
from app.accounts.passwords import (
    AccountInUse,
    IdentityTaken,
    InvalidAccount,
    NameTaken,
    account_key,
)
from app.accounts.role_table import UnknownAccount
from app.accounts.roles import InvalidRole, Roles, check_role
from app.accounts.table import Proof

__all__ = [
    "Account",
    "AccountInUse",
    "Accounts",
    "AccountsUnavailable",
    "AddressBusy",
    "DatabaseCalls",
    "Identity",
    "IdentityTaken",
    "InvalidAccount",
    "InvalidRole",
    "NameTaken",
    "OldNames",
    "OneTimeLinks",
    "Proof",
    "Roles",
    "UnknownAccount",
    "account_key",
    "accounts_table",
    "check_role",
    "is_account_id",
    "open_database",
]
