"""Errors of pages: the status and the sentence that a client gets for each."""

from __future__ import annotations

from types import FunctionType
from typing import NamedTuple, cast

from tornado.web import HTTPError, authenticated

from app.limits import in_words
from app.stores import StoreError


class TooManyRequests(HTTPError):
    """429: the client may try again after `wait` seconds."""

    def __init__(self, wait: int, message: str) -> None:
        super().__init__(429, message)
        self.wait = wait


class ErrorAnswer(NamedTuple):
    """What a client gets for an error; `retry_after` is in seconds, 0: unknown."""

    status: int
    sentence: str
    retry_after: int = 0


def error_answer(error: BaseException | None, status: int, reason: str) -> ErrorAnswer:
    """Return the answer to an error; `status` and `reason` are Tornado's."""
    if isinstance(error, StoreError):
        return ErrorAnswer(503, "The session store does not answer; please try again.", 1)
    if isinstance(error, TooManyRequests):
        sentence = f"{error.log_message}; wait {in_words(error.wait)} and try again"
        return ErrorAnswer(status, sentence, error.wait)
    if isinstance(error, HTTPError) and error.log_message and status < 500:
        message = error.log_message % error.args if error.args else error.log_message
        return ErrorAnswer(status, message)
    return ErrorAnswer(status, reason)


#: The code of the method that `@tornado.web.authenticated` puts around another.
_GUARD = cast(FunctionType, authenticated(lambda handler: None)).__code__


def raised_by_authenticated(error: BaseException | None) -> bool:
    """Return whether `@tornado.web.authenticated` raised this, not the method inside it.

    It raises a bare 403 for a POST, as the method may do for other reasons.
    """
    traceback = error.__traceback__ if isinstance(error, HTTPError) else None
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code is _GUARD
