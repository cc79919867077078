"""Readers of --store and --database."""

from __future__ import annotations

import re

from app.settings.values import SettingsError


def store(value: str) -> str:
    """Return "sqlite", "memory" or the URL of a Redis."""
    if value in ("sqlite", "memory"):
        return value
    # a character such as / in a password would turn a part of the password into the host
    if re.fullmatch(r"(redis|rediss|redis\+sentinel)://([^/?#\s]*@)?[^@?#\s]+(\?[^@#\s]*)?", value):
        return value
    raise SettingsError(
        "must be sqlite, memory, redis://:PASSWORD@HOST:PORT/DB, rediss://… (TLS) or "
        "redis+sentinel://:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB "
        "with each of / ? # % in a password as %2F %3F %23 %25"
    )


def is_shared(store: str) -> bool:
    """Whether several processes share the sessions of this store."""
    return store not in ("sqlite", "memory")


def database(value: str) -> str:
    """Return "sqlite" or the URL of a PostgreSQL database."""
    if value == "sqlite":
        return value
    # a character such as / in a password would turn a part of the password into the host
    if re.fullmatch(
        r"postgresql://([^@/?#\s]*@)?[^@/?#\s]*/[^@/?#\s]+(\?[^@#\s]*)?", value, re.ASCII
    ):
        return value
    raise SettingsError(
        "must be sqlite, or postgresql://USER:PASSWORD@HOST/DATABASE "
        "with each of @ / ? # % : in a password as %40 %2F %3F %23 %25 %3A"
    )
