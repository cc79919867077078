"""Names of events that an auditor writes."""

from __future__ import annotations

import time

import pytest

from app.console import times
from app.operator import operator_commands
from app.ops.control import CommandFailed
from tests.support.site import Site


async def test_an_unknown_event_is_refused_with_the_names(site: Site) -> None:
    """And with the one that was meant; an event of a fork is known once it is stored."""
    audit = operator_commands(site.services.operator)["accounts.audit"]
    with pytest.raises(CommandFailed, match=r"did you mean sign-in.*registration, sign-in"):
        await audit({"events": ["login"]})
    with pytest.raises(CommandFailed, match="no event has the name"):
        await audit({"events": ["vote"]})
    site.services.audit.add("vote", user="eve", user_id="u:eve", address="")
    await site.services.audit_trail.flush()
    assert len((await audit({"events": ["vote"]}))["events"]) == 1


async def test_an_unknown_name_tells_how_to_ask_for_a_deleted_account(site: Site) -> None:
    """By the id."""
    audit = operator_commands(site.services.operator)["accounts.audit"]
    with pytest.raises(CommandFailed, match="Ask for a deleted account by its id"):
        await audit({"name": "bobby"})


async def test_a_short_id_of_a_session_is_refused(site: Site) -> None:
    """With what is missing."""
    end = operator_commands(site.services.operator)["sessions.end"]
    with pytest.raises(CommandFailed, match="at least six characters of a session's id"):
        await end({"id": "56a4"})


def test_days_have_names() -> None:
    """Yesterday ends when today begins."""
    today = times.read_time("--since", "today")
    assert times.read_time("--until", "yesterday", end_of_day=True) == today <= time.time()
    assert times.read_time("--since", "yesterday") < today
