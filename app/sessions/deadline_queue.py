"""A queue of sessions by the time at which each has to be checked."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class DeadlineQueue:
    """Session ids with deadlines (seconds since 1970); each id is queued at most once."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._session_ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._heap)

    def session_ids(self) -> set[str]:
        """Return the ids in the queue."""
        return set(self._session_ids)

    def add(self, session_id: str, deadline: float) -> None:
        """Queue this id, unless it is queued already; that deadline stays then."""
        if session_id not in self._session_ids:
            self._session_ids.add(session_id)
            heapq.heappush(self._heap, (deadline, session_id))

    def pop_due(self, now: float) -> list[str]:
        """Take out the ids whose deadline has come."""
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[1])
        self._session_ids.difference_update(due)
        return due

    def retain(self, wanted: Callable[[str], bool]) -> None:
        """Remove the ids that are not wanted."""
        self._heap = [item for item in self._heap if wanted(item[1])]
        heapq.heapify(self._heap)
        self._session_ids = {session_id for _, session_id in self._heap}
