"""A new id for a session, at each proof of its user (OWASP ASVS 5.0, 7.2.4)."""

from __future__ import annotations

from app.sessions.codec import D
from app.sessions.edit import Edit
from app.sessions.records import SessionRecords
from app.sessions.replacements import Replacement
from app.stores import LeaseLost, Record

_MAX_TRIES = 5


async def regenerate(
    records: SessionRecords[D],
    session_id: str,
    user_id: str,
    *,
    user_name: str | None,
    authentication: str | None,
    remote_address: str,
    user_agent: str,
    network: str = "",
) -> Record:
    """Move a session to a new id that belongs to this user; the old id is dead on return.

    The data of a visitor or of the same user is kept, another user's is not. `authentication` is
    the encoded one, or None to keep that of the same user. Edits under way come first.

    With a `network`, the connections from there go on under the new id, in all processes; it is for
    a proof of the user whose session it is. The end of the old id is not announced: its other
    connections are closed when the new cookie is on its way. Raises SessionEnded and StoreError.
    """
    for number in range(1, _MAX_TRIES + 1):
        edit = Edit(records, session_id)
        await edit.begin()
        old = edit.locked
        assert old is not None  # or `begin` would have raised
        same_user = old.user_id == user_id
        proof = authentication or (old.authentication if same_user else None)
        new = records.new(
            old.data if same_user or old.user_id is None else records.codec.blank,
            remote_address=remote_address,
            user_agent=user_agent,
            user_id=user_id,
            user_name=user_name,
            authentication=proof,
        )
        try:
            await _replace(records, edit, old, new, network if same_user else "")
            return new
        except LeaseLost:  # another process edited the session meanwhile
            if number == _MAX_TRIES:
                raise
    raise AssertionError("unreachable")


async def _replace(
    records: SessionRecords[D], edit: Edit[D], old: Record, new: Record, network: str
) -> None:
    """Put the new record in the place of the old one, and let connections follow it."""
    replacement = Replacement(old.id, new.id, network)
    with records.replacements.replacing(old.id):
        records.endings.set_replaced(old.id, True)
        try:
            await edit.replace(new, replacement.encode() if network else b"")
        except BaseException:
            records.endings.set_replaced(old.id, False)
            # the reply of the store may be lost; nobody has the cookie of the new id
            await records.withdraw(new.id)
            raise
        records.lifetimes.activity.forget(old.id)
        if network:
            records.replacements.add(replacement)
