"""Session data of a fork's type, encoded and decoded with its types checked."""

from __future__ import annotations

import traceback
import types
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import msgspec

from app.common.lone_surrogates import repair
from app.sessions.errors import InvalidData
from app.sessions.unknown_fields import UnknownFields

D = TypeVar("D", bound=msgspec.Struct)


def _refuse(self: object, name: str, value: object) -> NoReturn:
    raise AttributeError(
        f"session data is read-only outside of its block; write "
        f"`async with self.session as data: data.{name} = …` "
        f"(in a namespace: `async with self.session_for(sid) as data`)"
    )


def _read_only(data_type: type[D]) -> type[D]:
    """Return a subclass whose instances refuse assignment and say what to write instead."""
    body: dict[str, Any] = {
        "__setattr__": _refuse,
        "__delattr__": lambda self, name: _refuse(self, name, None),
        "__module__": data_type.__module__,
        "__qualname__": data_type.__qualname__,
    }
    if hasattr(data_type, "__post_init__"):

        def post_init(self: Any) -> None:
            """Take the values from a writable object, whose own `__post_init__` may assign."""
            writable = data_type(**msgspec.structs.asdict(self))
            for name in self.__struct_fields__:
                msgspec.structs.force_setattr(self, name, getattr(writable, name))

        body["__post_init__"] = post_init
    read_only: type[D] = types.new_class(
        data_type.__name__, (data_type,), exec_body=lambda namespace: namespace.update(body)
    )
    return read_only


def _upgrade_of(data_type: type[D]) -> Callable[[dict[str, Any]], Any] | None:
    """Return the function `upgrade` of a type, unless that is the name of a field."""
    if "upgrade" in data_type.__struct_fields__:
        return None
    upgrade: Callable[[dict[str, Any]], Any] | None = getattr(data_type, "upgrade", None)
    return upgrade


def _place(error: Exception) -> str:
    """Describe an error without its message, which may have a value of the session."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


class Codec(Generic[D]):
    """Encodes and decodes session data of one type (MessagePack, so NaN and bytes survive)."""

    def __init__(self, data_type: type[D]) -> None:
        """Raises TypeError if the type needs arguments."""
        try:
            data_type()
        except TypeError as error:
            raise TypeError(
                f"{data_type.__name__} holds what a new session starts with, "
                f"so each of its fields needs a default ({error})"
            ) from None
        self.new = data_type
        self._upgrade: Callable[[dict[str, Any]], Any] | None = _upgrade_of(data_type)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(data_type)
        self._reader = msgspec.msgpack.Decoder(_read_only(data_type))
        #: the encoded data of a new session
        self.blank = self.encode(data_type())

    def draft(self, encoded: bytes) -> D:
        """Decode data that may be changed; raises InvalidData.

        Data that does not decode is upgraded first, if its type can do that.
        """
        try:
            return self._decoder.decode(encoded)
        except Exception as error:
            encoded = self.upgraded(encoded, InvalidData(self._describe(error)))
        try:
            return self._decoder.decode(encoded)
        except Exception as error:
            raise InvalidData(self._describe(error)) from None

    def snapshot(self, encoded: bytes) -> D:
        """Decode data that refuses assignment; raises InvalidData.

        Data that does not decode is not upgraded, since two upgrades may differ: see `upgraded`.
        """
        try:
            return self._reader.decode(encoded)
        except Exception as error:
            raise InvalidData(self._describe(error)) from None

    def upgraded(self, encoded: bytes, misfit: InvalidData) -> bytes:
        """Return data that does not decode as `upgrade` of its type makes it.

        `misfit` says why it does not decode. Raises it if the type has no `upgrade`, and another
        InvalidData if that fails.
        """
        if self._upgrade is None:
            raise misfit
        try:
            old = msgspec.msgpack.decode(encoded)
            new = self._upgrade(old) if isinstance(old, dict) else old
        except Exception as error:
            raise InvalidData(f"{misfit}; upgrade() raised {_place(error)}") from None
        if not isinstance(new, self.new):
            kind = type(new).__name__
            raise InvalidData(f"{misfit}; upgrade() returned {kind}, not {self.new.__name__}")
        try:
            return self.checked(new)
        except InvalidData as error:
            raise InvalidData(f"{misfit}; what upgrade() returned is wrong: {error}") from None

    def encode(self, data: D) -> bytes:
        """Encode without checking the types of the values; raises InvalidData.

        A lone surrogate is stored as U+FFFD.
        """
        try:
            return self._encoder.encode(data)
        except Exception:
            return self._encode_repaired(data)

    def checked(self, data: D) -> bytes:
        """Encode and check the types of the values; raises InvalidData."""
        try:
            encoded = self._encoder.encode(data)
        except Exception:
            encoded = self._encode_repaired(data)
        try:
            self._reader.decode(encoded)
        except Exception as error:
            raise InvalidData(f"{self._describe(error)}; nothing was stored") from None
        return encoded

    def unknown(self, data: D, encoded: bytes) -> UnknownFields | None:
        """Return the fields of stored data that its type does not have; None if there are none.

        `data` is `draft(encoded)`. This takes longer than decoding: call it only if `data`
        encodes to something other than `encoded`. Of data that was upgraded, `upgrade` has kept
        what it wanted to keep.
        """
        if self._upgrade is not None and not self._decodes(encoded):
            return None
        try:
            return UnknownFields(data, msgspec.msgpack.decode(encoded)) or None
        except RecursionError:  # nested a few hundred levels deep, so without structs
            return None

    def with_unknown(self, data: D, encoded: bytes, unknown: UnknownFields) -> bytes:
        """Return the encoded data together with the fields that its type does not have."""
        raw = msgspec.msgpack.decode(encoded)
        unknown.add_to(data, raw)
        return self._encoder.encode(raw)

    def _decodes(self, encoded: bytes) -> bool:
        try:
            self._decoder.decode(encoded)
        except Exception:
            return False
        return True

    def _encode_repaired(self, data: D) -> bytes:
        """Encode data that the encoder refused as it is; raises InvalidData."""
        try:
            return self._encode(data)
        except Exception as error:
            raise InvalidData(f"{self._name_field(data)}{error}; nothing was stored") from None

    def _encode(self, data: object) -> bytes:
        try:
            return self._encoder.encode(data)
        except UnicodeEncodeError:
            kept = (bytes, bytearray, datetime)  # types of MessagePack
            return self._encoder.encode(repair(msgspec.to_builtins(data, builtin_types=kept)))

    def _describe(self, error: Exception) -> str:
        """Describe what does not fit; a `__post_init__` may raise anything."""
        return f"{self.new.__name__}: {error}"

    def _name_field(self, data: D) -> str:
        """Return the name of the field that does not encode."""
        for name in data.__struct_fields__:
            try:
                self._encode(getattr(data, name))
            except Exception:
                return f"{self.new.__name__}.{name}: "
        return f"{self.new.__name__}: "
