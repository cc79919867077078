"""Mail: messages to users, and how they reach the server of --mail.

Imports settings and common.
"""

from app.mail.address import InvalidAddress, clean_address, shown_address
from app.mail.mail import Mail

__all__ = ["InvalidAddress", "Mail", "clean_address", "shown_address"]
