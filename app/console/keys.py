"""The actions of `python -m app keys`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from app.console import screen, times
from app.console.errors import Failed, WrongCall
from app.console.program import Call
from app.console.site_keys import Running, SiteKeys, numbers
from app.console.table import Column, table
from app.ops.key_file import KeyFileBusy, alone
from app.ops.keys import accepted_keys, fingerprint, new_key

_COLUMNS = (
    Column("KEY", 16),
    Column("MADE", 16),
    Column("SIGNS", 5),
    Column("NEEDED UNTIL", 16),
    Column("ACCEPTED BY", 16),
)


def list_keys(call: Call) -> None:
    """Show the keys without revealing them."""
    keys = SiteKeys(call.site)
    rows = _rows(keys, keys.running())
    lines = [_cells(row) for row in rows]
    call.show(
        {"file": str(keys.path), "keys": rows},
        lambda: table(_COLUMNS, lines, screen.width()) if rows else ["no keys yet"],
    )


def rotate(call: Call) -> None:
    """Make a new key sign: first all processes accept it, then they sign with it."""
    _change(call, _rotate)


def retire(call: Call) -> None:
    """Accept keys no more: those that are named, or all whose cookies are over."""
    _change(call, _retire)


def _change(call: Call, change: Callable[[Call, SiteKeys], None]) -> None:
    """Change the file of keys, while no other command does."""
    keys = SiteKeys(call.site)
    keys.require_file()
    try:
        with alone(keys.path):
            change(call, SiteKeys(call.site))  # as the command before this one has left them
    except KeyFileBusy as error:
        raise Failed(str(error)) from None
    except PermissionError:
        raise Failed(
            f"{keys.path} is closed to this user; run the command as root or as the program's user"
        ) from None


def _rotate(call: Call, keys: SiteKeys) -> None:
    new, old = _added_key(keys)
    name = fingerprint(new)
    others = keys.wait(call.given.wait, lambda process: name in process.keys)
    if others:
        raise Failed(
            f"the new key {name} is not accepted by {numbers(others)} yet, so nothing signs with "
            f"it. Copy {keys.path} to their hosts, or restart them if they are of an older "
            "release. Then run this command again"
        )
    times_of = keys.times.of
    times_of(new).signed_from = times_of(old[-1]).signed_until = time.time()
    keys.write((*old, new))
    others = keys.wait(call.given.wait, lambda process: process.keys[-1] == name)
    times_of(old[-1]).signed_until = time.time()
    keys.times.save(keys.kept)
    result = {"signs": name, "before": fingerprint(old[-1]), "not_yet": [p.number for p in others]}
    call.show(result, lambda: _rotated(keys, name, old[-1], others))


def _added_key(keys: SiteKeys) -> tuple[str, tuple[str, ...]]:
    """Return the new key, which stands in front of the file, and the keys after it.

    It is that of a rotation that was interrupted, or is made.
    """
    first, rest = keys.kept[0], keys.kept[1:]
    if rest and keys.needed_until(first) == 0.0:
        return first, rest
    keys.check_running()
    if not rest:
        keys.times.note_only_key(first)
    new = new_key()
    keys.times.of(new).made = time.time()
    old = keys.kept
    keys.write((new, *old))
    return new, old


def _rotated(keys: SiteKeys, name: str, old: str, others: Sequence[Running]) -> list[str]:
    lines = [f"the new key {name} signs"]
    if others:
        lines.append(
            f"it is accepted, and the key before still used, by {numbers(others)}; copy "
            f"{keys.path} to their hosts. Nobody is signed out meanwhile"
        )
    until = _until(keys.needed_until(old))
    lines.append(
        f"the key before, {fingerprint(old)}, is accepted until you retire it; cookies may need "
        f"it {until}"
    )
    return lines


def _retire(call: Call, keys: SiteKeys) -> None:
    for key in keys.kept[:-1]:
        keys.times.note_unknown_end(key)
    chosen = [_find(keys, word) for word in call.given.key]
    if not chosen:
        chosen = [key for key in keys.kept[:-1] if keys.needed_until(key) <= time.time()]
    running = keys.running()
    if not call.given.force:
        for key in chosen:
            _refuse_needed(keys, key, running)
    keys.write(tuple(key for key in keys.kept if key not in chosen))
    names = {fingerprint(key) for key in chosen}
    others = keys.wait(call.given.wait, lambda process: names.isdisjoint(process.keys))
    result = {"retired": sorted(names), "not_yet": [each.number for each in others]}
    call.show(result, lambda: _retired(keys, names, others))


def _find(keys: SiteKeys, word: str) -> str:
    """Return the key of a fingerprint, or of its beginning; raises Failed or WrongCall."""
    found = [key for key in keys.kept if fingerprint(key).startswith(word)]
    if len(word) < 4 or len(found) != 1:
        raise WrongCall(f"{word}: name one key of: {', '.join(map(fingerprint, keys.kept))}")
    if found[0] == keys.kept[-1]:
        raise Failed(f"{fingerprint(found[0])} signs; rotate first, then retire it")
    return found[0]


def _refuse_needed(keys: SiteKeys, key: str, running: Sequence[Running]) -> None:
    name = fingerprint(key)
    signing = [each for each in running if each.keys[-1] == name]
    if signing:
        raise Failed(f"{name} still signs in {numbers(signing)}; copy {keys.path} to their hosts")
    if keys.needed_until(key) > time.time():
        keys.times.save(keys.kept)
        raise Failed(
            f"cookies may need {name} {_until(keys.needed_until(key))}, and their users would be "
            "signed out; if the key was stolen, add --force"
        )


def _retired(keys: SiteKeys, names: set[str], others: Sequence[Running]) -> list[str]:
    lines = [f"the key {name} is accepted no more" for name in sorted(names)]
    if others:
        lines.append(f"still accepted by {numbers(others)}; copy {keys.path} to their hosts")
    for key in keys.kept[:-1]:
        lines.append(f"cookies may need {fingerprint(key)} {_until(keys.needed_until(key))}")
    return lines if len(keys.kept) > 1 or names else ["there is only the key that signs"]


def _rows(keys: SiteKeys, running: Sequence[Running]) -> list[dict[str, Any]]:
    """Return what is known of each key, the one that signs last."""
    accepted = accepted_keys(keys.kept, keys.given)
    return [_row(keys, key, key == accepted[-1], running) for key in accepted]


def _row(keys: SiteKeys, key: str, signs: bool, running: Sequence[Running]) -> dict[str, Any]:
    name, known = fingerprint(key), keys.times.of(key)
    until = None if signs or known.signed_until is None else keys.needed_until(key)
    return {
        "key": name,
        "in_file": key in keys.kept,
        "made": known.made,
        "signs": signs,
        "next": not signs and keys.needed_until(key) == 0.0,
        "needed_until": None if until == math.inf else until,
        "accepted_by": [each.number for each in running if name in each.keys],
        "processes": len(running),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    accepted = f"{len(row['accepted_by'])} of {row['processes']} processes"
    return [
        row["key"],
        times.shown(row["made"]) or "unknown",
        "yes" if row["signs"] else "next" if row["next"] else "no",
        times.shown(row["needed_until"]) or ("-" if row["signs"] or row["next"] else "unknown"),
        accepted,
    ]


def _until(moment: float) -> str:
    return "for ever" if moment == math.inf else f"until {times.shown(moment)}"
