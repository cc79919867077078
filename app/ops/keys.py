"""The keys that sign cookies: those of --secret-keys, and those of a file."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from app.settings import Settings

log = logging.getLogger("latchkey.keys")

_KEPT = "secret_key"  # file of keys in the data folder, unless --secret-key-file names another
_USED = "secret_key.used"  # file with the fingerprint of the key that signed last
_DAMAGED = "\N{REPLACEMENT CHARACTER}"
_MIN_LENGTH = 32  # characters of a kept key; a shorter one was truncated


def key_file(data_dir: Path, given: Path | None) -> Path:
    """Return the path of the file of keys; `given` is --secret-key-file."""
    return given or data_dir / _KEPT


def signing_keys(settings: Settings) -> tuple[str, ...]:
    """Return the keys whose signatures are accepted; the last one signs.

    Keys are those of --secret-keys and those of the file, until an operator deletes it. Without
    --secret-keys a key is made in the file on first use. Raises ValueError for a file that holds
    no key, and OSError for one that cannot be read or made.
    """
    path = key_file(settings.data_dir, settings.secret_key_file)
    if not settings.secret_keys:
        return kept_keys(path) or (_make_key(path),)
    try:
        accepted = accepted_keys(kept_keys(path), settings.secret_keys)
    except ValueError as error:
        log.warning("%s", error)
        return settings.secret_keys
    if accepted != settings.secret_keys:
        log.info(
            "%s is accepted besides --secret-keys; delete it when the sessions that it signed "
            "are over",
            path,
        )
    return accepted


def accepted_keys(kept: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of a file and those of --secret-keys, each once; the last one signs."""
    return (*(key for key in kept if key not in given), *given)


def kept_keys(path: Path) -> tuple[str, ...]:
    """Return the keys of this file; none if there is no file. Raises ValueError."""
    try:
        lines = _text(path).splitlines()
    except FileNotFoundError:
        return ()
    keys = tuple(line.strip() for line in lines if line.strip())
    if not keys or any(len(key) < _MIN_LENGTH or _DAMAGED in key for key in keys):
        raise ValueError(
            f"{path} holds no signing key; restore it, or delete it to make a new one "
            "(which signs everybody out)"
        )
    return keys


def _text(path: Path) -> str:
    """Return the text of a file; bytes that are no UTF-8 become U+FFFD."""
    return path.read_text(encoding="utf-8", errors="replace")


def new_key() -> str:
    """Return a new key, of 256 random bits."""
    return secrets.token_urlsafe(32)


def _make_key(path: Path) -> str:
    """Make the file with its first key; return its newest key if another process was faster."""
    key = new_key()
    own = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(own)  # it appears with its content, and only if there is none
    except FileExistsError:
        return kept_keys(path)[-1]
    finally:
        own.unlink()
    return key


def fingerprint(key: str) -> str:
    """Return a short name of a key that does not reveal it."""
    return hashlib.sha256(b"latchkey.fingerprint " + key.encode()).hexdigest()[:16]


def check_last_key(settings: Settings, keys: Sequence[str]) -> None:
    """Warn if the key that signed last is not accepted now; store the one that signs."""
    path = settings.data_dir / _USED
    last = _text(path).strip() if path.exists() else ""
    if last and settings.store != "memory" and last not in map(fingerprint, keys):
        log.warning(
            "the key that signed cookies until now is not accepted, so everybody who is signed in "
            "is signed out; to keep them, put the old key in front of the new one in "
            "--secret-keys and start again key=%s",
            last,
        )
    note_last_key(settings, keys)


def note_last_key(settings: Settings, keys: Sequence[str]) -> None:
    """Store the fingerprint of the key that signs, for the next start."""
    path = settings.data_dir / _USED
    last = _text(path).strip() if path.exists() else ""
    if last != fingerprint(keys[-1]):
        with contextlib.suppress(OSError):  # the server starts with a full disk too
            new = path.with_suffix(".new")
            new.touch(mode=0o600)
            new.write_text(fingerprint(keys[-1]) + "\n")
            new.replace(path)


def description(keys: Sequence[str]) -> str:
    """Return the fingerprints of the accepted keys, for other processes to compare."""
    return ",".join(map(fingerprint, keys))


def warn_of_conflict(mine: str, others: Iterable[str]) -> None:
    """Warn if this process and another running one do not accept each other's signatures.

    `mine` and `others` are results of `description`.
    """
    accepted = mine.split(",")
    for other in others:
        theirs = other.split(",")
        if other and (accepted[-1] not in theirs or theirs[-1] not in accepted):
            log.warning(
                "this process and another running process do not accept each other's cookies, so "
                "visitors are signed out when they change between them; first put the new key at "
                "the front of --secret-keys in every process, then move it to the end "
                "keys=%s other=%s",
                mine,
                other,
            )
