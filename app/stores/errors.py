"""The errors of session stores."""

from __future__ import annotations

from typing import ClassVar


class HidesSessionId(BaseException):
    """An exception with a session id as `args[0]`, which no message, log or traceback shows."""

    sentence: ClassVar[str]

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sentence!r})"


class StoreError(Exception):
    """A call to a session store failed."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or written, and trying again may help.

    Nothing was changed, unless a store on a network was lost during the call.
    """


class StoreBusy(StoreError):
    """The lock of a session could not be acquired in time; nothing was changed."""


class RecordGone(HidesSessionId, StoreError):
    """The record was removed while its lock was held; nothing was written."""

    sentence = "the record of the session was removed while it was edited"


class LeaseLost(HidesSessionId, StoreError):
    """The lock expired before the save and another process wrote; this save wrote nothing."""

    sentence = "the lock of the session ran out before the save, and another process wrote"
