"""A new id for a session, at sign-in (OWASP ASVS 5.0, 7.2.4)."""

from __future__ import annotations

from app.sessions.codec import D
from app.sessions.edit import Edit
from app.sessions.records import SessionRecords
from app.stores import Record


async def regenerate(
    records: SessionRecords[D],
    session_id: str,
    user_id: str,
    *,
    user_name: str | None,
    authentication: str | None,
    remote_address: str,
    user_agent: str,
) -> Record:
    """Move a session to a new id that belongs to this user; the old id is dead on return.

    The data of a visitor or of the same user is kept, another user's is not. `authentication` is
    the encoded one, or None to keep that of the same user. The end of the old
    id is not announced: its sockets are closed when the new cookie is on its way. Raises
    SessionEnded.
    """
    edit = Edit(records, session_id)
    await edit.begin()
    old = edit.locked
    assert old is not None  # or `begin` would have raised
    data = old.data if old.user_id in (None, user_id) else records.codec.blank
    if authentication is None and old.user_id == user_id:
        authentication = old.authentication
    new: Record | None = None
    try:
        try:
            new = await records.add(
                data,
                remote_address=remote_address,
                user_agent=user_agent,
                user_id=user_id,
                user_name=user_name,
                authentication=authentication,
            )
            return await _replace(records, old, new)
        finally:
            await edit.abandon()
    except BaseException:  # `abandon` may be cancelled too
        if new is not None:
            records.endings.set_replaced(old.id, False)
            await records.withdraw(new.id)
        raise


async def _replace(records: SessionRecords[D], old: Record, new: Record) -> Record:
    """Remove the old record and return the new one, with the latest data of the old."""
    records.endings.set_replaced(old.id, True)
    removed = await records.endings.remove(old.id)
    if removed is not None and removed.version != old.version and new.data is old.data:
        # the lease had expired, and another process edited the session meanwhile
        return await (await records.store.lock(new.id)).save(removed.data)
    return new
