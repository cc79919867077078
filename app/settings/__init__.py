"""The settings of one process: their declarations, and how their values are read.

Imports nothing else of app.
"""

from app.settings.addresses import Network
from app.settings.command_line import PREFIX, Parser, parse_settings
from app.settings.settings import Settings
from app.settings.values import SettingsError

__all__ = ["PREFIX", "Network", "Parser", "Settings", "SettingsError", "parse_settings"]
