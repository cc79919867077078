"""Errors of pages: the status and the sentence that a client gets for each."""

from __future__ import annotations

from traceback import walk_tb
from types import FunctionType
from typing import NamedTuple, cast

from tornado.web import HTTPError, authenticated

from app.database import DatabaseUnavailable
from app.rate_limits import in_words
from app.stores import StoreError


class TooManyRequests(HTTPError):
    """429: the client may try again after `wait` seconds."""

    def __init__(self, wait: int, message: str) -> None:
        super().__init__(429, message)
        self.wait = wait


class SignInFirst(HTTPError):
    """401: the page is not for visitors; a form goes to the login page, and back after that."""

    sentence = "sign in first"

    def __init__(self) -> None:
        super().__init__(401, self.sentence)


class InvalidField(HTTPError):
    """422: a field of a JSON body is wrong, as a client is told by `{"error", "field"}`.

    `field` is the path to it, such as `address.zip` or `items[0].name`; "" is the whole body.
    """

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(422, "%s", sentence)
        self.field = field


class ErrorAnswer(NamedTuple):
    """What a client gets for an error; `retry_after` is in seconds, 0: unknown."""

    status: int
    sentence: str
    retry_after: int = 0
    field: str | None = None  # of a JSON body, if the error is about one

    @property
    def body(self) -> dict[str, str]:
        """What a script gets."""
        body = {"error": self.sentence}
        return body if self.field is None else {**body, "field": self.field}


def error_answer(error: BaseException | None, status: int, reason: str) -> ErrorAnswer:
    """Return the answer to an error; `status` and `reason` are Tornado's."""
    if isinstance(error, StoreError):
        return ErrorAnswer(503, "The session store does not answer; please try again.", 1)
    if isinstance(error, DatabaseUnavailable):
        return ErrorAnswer(error.status, str(error), error.wait)
    if isinstance(error, TooManyRequests):
        sentence = f"{sentence_of(error)}; wait {in_words(error.wait)} and try again"
        return ErrorAnswer(status, sentence, error.wait)
    if isinstance(error, HTTPError) and error.log_message and status < 500:
        field = error.field if isinstance(error, InvalidField) else None
        return ErrorAnswer(status, sentence_of(error), field=field)
    return ErrorAnswer(status, reason)


def sentence_of(error: HTTPError) -> str:
    """Return the message of an error, as its handler wrote it; else the reason of its status."""
    # Tornado doubles each `%` of a message without arguments
    message = error.log_message % error.args if error.log_message else error.reason
    return message or ""


# `@tornado.web.authenticated` replaces a method by a wrapper; all wrappers share this code object.
_AUTHENTICATED_CODE = cast(FunctionType, authenticated(lambda handler: None)).__code__


def needs_sign_in(error: BaseException | None) -> bool:
    """Return whether a handler refused a visitor, who has to sign in first."""
    return isinstance(error, SignInFirst) or raised_by_authenticated(error)


def raised_by_authenticated(error: BaseException | None) -> bool:
    """Return whether `@tornado.web.authenticated` refused the request of a visitor.

    For a POST it raises HTTPError(403). A handler's method may raise the same for a user who is
    signed in, so the error itself does not tell. The innermost frame of its traceback does: it is
    the code that raised the error.
    """
    if not isinstance(error, HTTPError):
        return False
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_code is _AUTHENTICATED_CODE
