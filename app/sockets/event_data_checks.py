"""Arguments and results of a handler, checked by its annotations."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

_BINARY = (bytes, bytearray, memoryview)  # what attachments are; they stay as they are
_UNCHECKED = (Any, object, inspect.Parameter.empty)
_PATH = re.compile(r" - at `(?P<path>[^`]*)`(?: in `(?P<outer>[^`]*)`)?$")
_MAX_SENTENCE = 200  # characters; msgspec may quote a client's value


class InvalidArguments(ValueError):
    """What a client sent does not fit the annotations of the handler."""


class InvalidResult(TypeError):
    """What a handler returned does not fit its annotation."""


class Check:
    """The types of one method of a namespace class; `around` gives a method that checks them.

    Annotations are read here, once, so that an event only converts values. What has no annotation
    passes, and so do `Any` and `object`.
    """

    def __init__(self, cls: type, attribute: str) -> None:
        """Raises ValueError for an annotation that msgspec cannot check."""
        self._name = f"{cls.__qualname__}.{attribute}"
        method = getattr(cls, attribute)
        types = self._types(method)
        parameters = list(inspect.signature(method).parameters.values())
        is_plain = inspect.isfunction(inspect.getattr_static(cls, attribute))
        # the sid goes first; the server gives on_any the event, and on_connect the environ
        self._first = 1 + (attribute in ("on_any", "on_connect"))  # arguments not to be checked
        own = parameters[self._first + is_plain :]  # after `self`
        self._is_connect = attribute == "on_connect"
        places = [it for it in own if it.kind in (it.POSITIONAL_ONLY, it.POSITIONAL_OR_KEYWORD)]
        rest = next((it for it in own if it.kind is it.VAR_POSITIONAL), None)
        self._names = [place.name for place in places]
        self._types_of_places = [self._checked(types, place) for place in places]
        self._type_of_rest = None if rest is None else self._checked(types, rest)
        self._minimum = sum(place.default is place.empty for place in places)
        self._maximum = len(places) if rest is None else sys.maxsize
        self._result = None
        if types.get("return", Any) not in _UNCHECKED:
            self._result = self._checkable("the result", types["return"])

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls this bound method with converted arguments."""
        if self._is_connect:
            return self._around_connect(method)
        first, convert, result = self._first, self._convert, self._check_result
        if inspect.iscoroutinefunction(method):

            async def checked(*args: Any) -> Any:
                return result(await method(*args[:first], *convert(args[first:])))

            return checked

        def checked_now(*args: Any) -> Any:
            return result(method(*args[:first], *convert(args[first:])))

        return checked_now

    def _around_connect(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Check `auth` only; a connect handler may take fewer arguments than there are."""
        if not self._names:
            return method

        def checked(sid: str, environ: dict[str, Any], auth: Any) -> Any:
            return method(sid, environ, self._convert_one(auth, self._types_of_places[0], "auth"))

        return checked

    def _convert(self, args: tuple[Any, ...]) -> Iterator[Any] | list[Any]:
        if not self._minimum <= len(args) <= self._maximum:
            raise InvalidArguments(self._wrong_count(len(args)))
        places = len(self._types_of_places)
        types = [*self._types_of_places, *[self._type_of_rest] * (len(args) - places)]
        return [
            self._convert_one(value, kind, f"arg {number}")
            for number, (value, kind) in enumerate(zip(args, types, strict=False), 1)
        ]

    def _convert_one(self, value: Any, kind: Any, place: str) -> Any:
        if kind is None:
            return value
        try:
            return msgspec.convert(value, kind[0], builtin_types=_BINARY, str_keys=True)
        except msgspec.ValidationError as error:
            raise InvalidArguments(_sentence(error, place)) from None

    def _check_result(self, value: Any) -> Any:
        """Return the result as JSON holds it."""
        if self._result is None:
            return value
        try:
            plain = msgspec.to_builtins(value, builtin_types=_BINARY, str_keys=True)
            msgspec.convert(plain, self._result[0], builtin_types=_BINARY, str_keys=True)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise InvalidResult(_sentence(error, "the result")) from None
        return plain

    def _wrong_count(self, count: int) -> str:
        if count < self._minimum:
            missing = [f"arg {n + 1} ({self._names[n]})" for n in range(count, self._minimum)]
            return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        return f"too many args: got {count}, expected at most {self._maximum}"

    # -- annotations, when the class is registered --

    def _types(self, method: Callable[..., Any]) -> dict[str, Any]:
        try:
            return typing.get_type_hints(method, include_extras=True)
        except Exception as error:
            raise ValueError(
                f"{self._name}: validate = True, but its annotations cannot be read ({error}); "
                "import their names at the top of the module, or define them there"
            ) from None

    def _checked(self, types: dict[str, Any], parameter: inspect.Parameter) -> Any:
        """Return the type of a parameter in a tuple, or None if it has none to check."""
        kind = types.get(parameter.name, Any)
        return None if kind in _UNCHECKED else self._checkable(parameter.name, kind)

    def _checkable(self, what: str, kind: Any) -> tuple[Any]:
        try:
            msgspec.convert({}, kind)
        except msgspec.ValidationError:
            pass
        except TypeError as error:
            raise ValueError(f"{self._name}: {what} cannot be checked: {error}") from None
        for custom in _custom_types(msgspec.inspect.type_info(kind), set()):
            raise ValueError(
                f"{self._name}: {what} cannot be checked, because JSON has no {custom.__name__}; "
                "annotate it with a Struct, a dataclass, a TypedDict or a built-in type"
            )
        return (kind,)


def _custom_types(info: Any, seen: set[int]) -> Iterator[type]:
    """Yield the classes inside of a type that msgspec does not know."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        yield info.cls
    elif isinstance(info, (list, tuple)):
        for item in info:
            yield from _custom_types(item, seen)
    elif isinstance(info, (msgspec.inspect.Type, msgspec.inspect.Field)):
        for name in info.__struct_fields__:
            yield from _custom_types(getattr(info, name), seen)


def _sentence(error: Exception, place: str) -> str:
    """Return msgspec's error with the place in our words: `expected int, got str at arg 1 .n`."""
    text, path = str(error), ""
    found = _PATH.search(text)
    if found is not None:
        text, path = text[: found.start()], found["path"].removeprefix("$")
        if found["outer"] is not None:
            path = f"{path} of {found['outer'].removeprefix('$')}".removesuffix(" of ")
    text = text.replace("`", "")[:_MAX_SENTENCE]
    return f"{text[:1].lower()}{text[1:]} at {place} {path}".rstrip()
