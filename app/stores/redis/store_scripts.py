"""The scripts of the session store: `lua/NAME.lua`, which say what they take and return."""

from __future__ import annotations

import functools
from enum import Enum

from app.stores.redis.script import Script

_read = functools.partial(Script.read, "app.stores.redis")

LOCK = _read("read", "lock", words=5)
SAVE = _read("unlock", "write", "save", words=4)
SAVE_AND_KEEP = _read("unlock", "write", "save_and_keep", words=5)
RELEASE = _read("unlock", "release", words=2)
ADD = _read("expire", "insert", "add")
REPLACE = _read("read", "unlock", "expire", "insert", "remove", "replace")
TOUCH = _read("expire", "touch")
DESTROY = _read("read", "remove", "destroy")
LOAD_MANY = _read("read", "load_many")
OF_USER = _read("read", "of_user")
FIND = _read("read", "find")
UNINDEXED = _read("unindexed")
INDEX = _read("index")
TRIM = _read("read", "remove", "trim")
PURGE = _read("read", "remove", "purge")


class LockReply(bytes, Enum):
    """What `LOCK` returns other than fields of the record."""

    BUSY = b"busy"
    CURRENT = b"current"


class SaveReply(bytes, Enum):
    """What `SAVE`, `SAVE_AND_KEEP` and `REPLACE` return."""

    SAVED = b"saved"
    KEPT = b"kept"
    GONE = b"gone"
    LOST = b"lost"


class FindReply(bytes, Enum):
    """What `FIND` returns other than a session."""

    NONE = b"none"
    UNINDEXED = b"unindexed"
