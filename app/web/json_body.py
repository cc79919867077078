"""The body of a request, decoded into an annotated type."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from app.common.lone_surrogates import repair_json
from app.web.errors import InvalidField
from app.web.form import is_json

T = TypeVar("T")

# such as application/merge-patch+json (RFC 6839)
_SUFFIX = re.compile(r"application/[\w.-]+\+json *(;|$)", re.IGNORECASE)
# what msgspec appends to its message: where the value is, from the root `$`
_WHERE = re.compile(r"(?P<what>.*?) - at (?:`key` in )?`\$\.?(?P<where>.*)`", re.DOTALL)
# messages about a field that is not there, or should not be
_NAMED = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)


def read_json(request: HTTPServerRequest, kind: type[T]) -> T:
    """Return the body as a value of this type, which may be whatever msgspec decodes.

    Raises HTTPError 415 if it is not declared as JSON, 400 if it is not valid JSON in UTF-8, and
    InvalidField (422) if it does not fit the type.
    """
    if not (is_json(request) or _SUFFIX.match(request.headers.get("Content-Type", ""))):
        raise HTTPError(415, "send JSON, with Content-Type: application/json")
    if not request.body:
        raise HTTPError(400, "the body is empty; send JSON")
    try:
        return _decode(request.body, kind)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error)) from None
    except (ValueError, RecursionError):
        raise HTTPError(400, "the body is not JSON") from None


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # msgspec refuses lone surrogates, which are replaced everywhere else
        return msgspec.json.decode(repair_json(body.decode()), type=kind)


def _invalid_field(message: str) -> InvalidField:
    """Return the error for a message of msgspec, which is about the first field that is wrong."""
    found = _WHERE.fullmatch(message)
    what, where = (found["what"], found["where"]) if found else (message, "")
    named = _NAMED.fullmatch(what)
    field = ".".join(filter(None, [where, named["name"]])) if named else where
    what = what.replace("`", "")
    return InvalidField(field, f"{where or 'the body'}: {what[:1].lower()}{what[1:]}")
