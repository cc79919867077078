"""Locks that a process keeps from one edit of a busy session to the next.

So the Redis is asked once an edit, not twice. File systems of many machines do the same: a lock is
cached where it was used, and called back when it is wanted elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from app.stores.record import Record

_LATELY = 0.25  # seconds; a session that was saved in these, or in those before, is busy
_LONGEST = 1.0  # seconds that a lock may be kept without a save, well within its lease


class KeptLocks:
    """The locks that are kept now, each for less than a second without an edit.

    Nobody edits with one that another process wants: that one is given back at once, and if it is
    in use, with the save (which finds out in the Redis).
    """

    def __init__(
        self, known: Callable[[str], Record | None], let_go: Callable[[bytes], None]
    ) -> None:
        """`known` finds the record of a session, `let_go` gives the lock of an owner back."""
        self._known = known
        self._let_go = let_go
        #: what is kept, by session: the owner, the record's version, and since when
        self.now: dict[str, tuple[bytes, int, float]] = {}
        self._lately: set[str] = set()
        self._before: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def saving(self, session_id: str) -> float:
        """Note that a session is saved; return the time if its lock should be kept, else 0."""
        if session_id in self._lately:
            return monotonic()
        self._note(session_id)
        return monotonic() if session_id in self._before else 0.0

    def keep(self, session_id: str, owner: bytes, version: int, since: float) -> None:
        """Keep the lock of a record, which the Redis was asked to leave to this owner then."""
        self.now[session_id] = owner, version, since
        if session_id not in self._lately:  # the Redis took its time
            self._note(session_id)

    def take(self, session_id: str) -> tuple[bytes, Record] | None:
        """Return the owner and the record of a lock that was kept, for one edit."""
        kept = self.now.pop(session_id, None)
        if kept is None:
            return None
        owner, version, since = kept
        known = self._known
        record = known(session_id)
        if record is None or record.version != version or monotonic() - since > _LONGEST:
            # it ended, most likely, or this process stood still
            self._let_go(owner)
            return None
        return owner, record

    def wanted(self, session_id: str) -> None:
        """Give a lock back that another process wants, and do not keep it the next time."""
        self._lately.discard(session_id)
        self._before.discard(session_id)
        kept = self.now.pop(session_id, None)
        if kept is not None:
            self._let_go(kept[0])

    def give_back_all(self) -> None:
        """Keep none any longer: the connection is lost, or is about to be closed."""
        kept, self.now = self.now, {}
        for owner, _, _ in kept.values():
            self._let_go(owner)

    def close(self) -> None:
        """Keep none, for good."""
        if self._timer is not None:
            self._timer.cancel()
        self.give_back_all()

    def _note(self, session_id: str) -> None:
        self._lately.add(session_id)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LATELY, self._tick)

    def _tick(self) -> None:
        """Give back what nobody has used lately."""
        self._before, self._lately = self._lately, set()
        self._timer = None
        if self._before:
            self._timer = asyncio.get_running_loop().call_later(_LATELY, self._tick)
        for session_id in [id for id in self.now if id not in self._before]:
            self._let_go(self.now.pop(session_id)[0])
