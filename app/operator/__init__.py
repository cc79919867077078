"""What operators do with accounts and sessions: for the command line and the admin page.

Imports accounts, database, devices, ops, sessions, stores and common.
"""

from app.operator.actor import COMMAND_LINE, Actor
from app.operator.commands import operator_commands
from app.operator.operator import Operator, ResetLink
from app.operator.rows import AccountRow, EventRow, SessionRow, SignInRow

__all__ = [
    "COMMAND_LINE",
    "AccountRow",
    "Actor",
    "EventRow",
    "Operator",
    "ResetLink",
    "SessionRow",
    "SignInRow",
    "operator_commands",
]
