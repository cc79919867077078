"""The database: its connections, transactions in worker threads, tables and their migrations.

Imports settings, stores and common.
"""

from app.database.database import Database
from app.database.errors import DatabaseUnavailable
from app.database.schema import Schema, SchemaError

__all__ = ["Database", "DatabaseUnavailable", "Schema", "SchemaError"]
