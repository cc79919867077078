"""A form that was sent too late after the proof of its user, and is sent again after another."""

from __future__ import annotations

from tornado.httputil import HTTPServerRequest

_MAX_SIZE = 64 * 1024  # bytes of all names and values
_SECRETS = ("password", "code")  # parts of the names of fields that no page shows again
_PROOF = ("password", "code", "username")  # the fields of the proof itself

Fields = list[tuple[str, str]]


def kept_fields(request: HTTPServerRequest) -> Fields | None:
    """Return the fields of a form that a page may show once more, as hidden ones.

    Returns None for a form that has to be filled in again: it has a file, a password, a code,
    a field that the proof has too, or more than 64 KiB.
    """
    names = [name.lower() for name in request.body_arguments]
    secret = any(part in name for name in names for part in _SECRETS)
    if request.files or secret or "username" in names:
        return None
    return fields_beside_proof(request)


def fields_beside_proof(request: HTTPServerRequest) -> Fields | None:
    """Return the fields of a form but those of the proof; None if they are too large."""
    pairs = [
        (name, value)
        for name, values in request.body_arguments.items()
        if name not in _PROOF
        for value in values
    ]
    if sum(len(name) + len(value) for name, value in pairs) > _MAX_SIZE:
        return None
    try:
        return [(name, value.decode()) for name, value in pairs]
    except UnicodeDecodeError:
        return None
