"""The sections of the account page, in the order of its navigation."""

from typing import NamedTuple


class Section(NamedTuple):
    """An address of the account page and its name in the navigation."""

    path: str  # without the base path
    label: str


DEVICES = Section("/account", "Devices")
SIGN_IN = Section("/account/sign-in", "Sign-in methods")
RECOVERY = Section("/account/recovery", "Recovery")
DATA = Section("/account/data", "Personal data")
DELETE = Section("/account/delete", "Delete account")

SECTIONS = (DEVICES, SIGN_IN, RECOVERY, DATA, DELETE)
