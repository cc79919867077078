"""The fields of a form, or of a JSON object in its place."""

from __future__ import annotations

import json

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from app.common.lone_surrogates import repair_text


def is_json(request: HTTPServerRequest) -> bool:
    """Return whether the body of a request is declared as JSON."""
    kind = request.headers.get("Content-Type", "").partition(";")[0]
    return kind.strip(" \t").lower() == "application/json"


def read_fields(request: HTTPServerRequest, *names: str) -> list[str]:
    """Return these fields; a missing one is an empty string.

    Raises HTTPError 400 if the body is not valid JSON or not UTF-8, and 422 if a field of the
    JSON object is not a string.
    """
    if not is_json(request):
        return [_form_field(request, name) for name in names]
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise HTTPError(400, "the body is not JSON") from None
    values = [body.get(name, "") for name in names] if isinstance(body, dict) else []
    strings = [repair_text(value) for value in values if isinstance(value, str)]
    if len(strings) != len(names):
        raise HTTPError(422, f"expected a JSON object with string fields: {', '.join(names)}")
    return strings


def _form_field(request: HTTPServerRequest, name: str) -> str:
    # Tornado's get_body_argument would turn control characters into spaces
    values = request.body_arguments.get(name, [b""])
    try:
        return values[-1].decode()
    except UnicodeDecodeError:
        raise HTTPError(400, f"the field {name} is not UTF-8") from None
