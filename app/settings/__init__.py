"""The settings of one process: their declarations, and how their values are read.

Imports nothing else of app.
"""

from app.settings import values
from app.settings.addresses import Network
from app.settings.command_line import (
    Parser,
    config_path,
    parse_program_settings,
    parse_settings,
    read_some,
)
from app.settings.declaration import PREFIX, declared, setting
from app.settings.mail import MailServer
from app.settings.module_settings import OwnRecords, check_records, complete
from app.settings.settings import Settings
from app.settings.store_urls import is_shared
from app.settings.values import SettingsError

__all__ = [
    "PREFIX",
    "MailServer",
    "Network",
    "OwnRecords",
    "Parser",
    "Settings",
    "SettingsError",
    "check_records",
    "complete",
    "config_path",
    "declared",
    "is_shared",
    "parse_program_settings",
    "parse_settings",
    "read_some",
    "setting",
    "values",
]
