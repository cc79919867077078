"""Accounts: names and passwords, roles, their database, and the command that adds an account.

Imports database, settings, stores and common.
"""

from app.accounts.account import Account, Identity, is_account_id
from app.accounts.account_changes import AccountChanges
from app.accounts.account_list import AccountList
from app.accounts.account_table import Proof
from app.accounts.accounts import Accounts, open_database
from app.accounts.administrators import ADMIN, LastAdministrator
from app.accounts.audit_event import AuditEvent
from app.accounts.audit_trail import AuditTrail
from app.accounts.calls import AccountsUnavailable, AddressBusy, DatabaseCalls
from app.accounts.emails import Change, Emails
from app.accounts.old_names import OldNames
from app.accounts.one_time_links import RESETS, OneTimeLinks, Purpose, Use
from app.accounts.orphans import without_orphans
from app.accounts.password_reset import AppCodeRequired, PasswordReset
from app.accounts.password_rules import PasswordRules, Strength, WeakPassword
from app.accounts.passwords import (
    DELETED,
    AccountInUse,
    IdentityTaken,
    InvalidAccount,
    NameTaken,
    account_key,
    refuse_long_name,
)
from app.accounts.recovery_codes import RecoveryCodes
from app.accounts.required_roles import RoleRequired, refusal, required_roles
from app.accounts.role_table import UnknownAccount
from app.accounts.roles import InvalidRole, Roles, check_role
from app.accounts.schema import accounts as accounts_table
from app.accounts.totp import Totp, TotpOn, TotpState
from app.accounts.trusted_devices import TrustedDevice, TrustedDevices

__all__ = [
    "ADMIN",
    "DELETED",
    "RESETS",
    "Account",
    "AccountChanges",
    "AccountInUse",
    "AccountList",
    "Accounts",
    "AccountsUnavailable",
    "AddressBusy",
    "AppCodeRequired",
    "AuditEvent",
    "AuditTrail",
    "Change",
    "DatabaseCalls",
    "Emails",
    "Identity",
    "IdentityTaken",
    "InvalidAccount",
    "InvalidRole",
    "LastAdministrator",
    "NameTaken",
    "OldNames",
    "OneTimeLinks",
    "PasswordReset",
    "PasswordRules",
    "Proof",
    "Purpose",
    "RecoveryCodes",
    "RoleRequired",
    "Roles",
    "Strength",
    "Totp",
    "TotpOn",
    "TotpState",
    "TrustedDevice",
    "TrustedDevices",
    "UnknownAccount",
    "Use",
    "WeakPassword",
    "account_key",
    "accounts_table",
    "check_role",
    "is_account_id",
    "open_database",
    "refusal",
    "refuse_long_name",
    "required_roles",
    "without_orphans",
]
