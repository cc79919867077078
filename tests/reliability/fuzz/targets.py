"""What is fuzzed. A target takes any bytes, and raises if the program would have a fault."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import msgspec
from tornado.httputil import HTTPHeaders, HTTPInputError, parse_body_arguments
from tornado.web import HTTPError

from app.settings import Settings
from app.transport.engineio.frames import FrameError, FrameParser, encode_close
from app.transport.http.body import ChunkedBody
from app.transport.http.cookies import cookie_jar
from app.transport.http.head import Refused, find_head, parse_head
from app.transport.socketio.packets import ACK, EVENT, BinaryPacket, PacketError, decode, encode
from app.web.form import read_fields
from app.web.json_body import read_json
from app.web.session_cookie import SessionCookie

CORPUS = Path(__file__).resolve().parent / "corpus"

_LIMIT = 16_384  # bytes of a head, or of a message
_COOKIE = SessionCookie(Settings(), ("only-for-tests-0123456789",))
_ID = "A" * 43


def head(data: bytes) -> None:
    """A head is found at the same place, and means the same, however it comes in pieces."""
    try:
        end = find_head(data, _LIMIT)
        if not end:
            return
        parsed = parse_head(data[:end])
    except Refused:
        return
    assert find_head(data[:end], _LIMIT, end - 1) == end
    assert parsed.start_line.path.startswith(("/", "*"))
    assert parsed.length is None or parsed.length >= 0
    assert not set("\r\n\0") & set("".join(parsed.headers.values()))


def chunks(data: bytes) -> None:
    """A chunked body is the same in one piece and byte by byte."""
    assert _body(data, len(data) or 1) == _body(data, 1)


def _body(data: bytes, step: int) -> bytes | int:
    """Return the content; the status of a refusal, 0 if the body is not complete."""
    body, content, rest = ChunkedBody(), b"", b""
    for at in range(0, len(data), step):
        try:
            piece, rest = body.take(rest + data[at : at + step])
        except Refused as refused:
            return refused.status
        content += piece
        if body.done:
            return content
    return 0


def frames(data: bytes) -> None:
    """Frames give the same messages in one piece and byte by byte."""
    assert _messages(data, len(data) or 1) == _messages(data, 1)


def _messages(data: bytes, step: int) -> list[Any]:
    """Return the messages; an error is the last one, as its code."""
    parser, messages = FrameParser(_LIMIT), list[Any]()
    with contextlib.suppress(StopIteration):
        for at in range(0, len(data), step):
            parser.feed(data[at : at + step])
            try:
                while (message := parser.next()) is not None:
                    messages.append(message)
            except FrameError as error:
                return [*messages, encode_close(error.code)]
    return messages


def packets(data: bytes) -> None:
    """A packet is decoded or refused; what was decoded means the same when it is encoded."""
    text, *attachments = data.decode("utf-8", "replace").split("\x1e")
    try:
        packet = decode(text)
        for attachment in attachments:
            if not isinstance(packet, BinaryPacket) or packet.add(attachment.encode()):
                break
    except PacketError:
        return
    if packet.type in (EVENT, ACK) and not packet.announced:
        encoded = encode(packet.type, packet.namespace, packet.id, packet.data).text
        assert encoded is not None
        again = decode(encoded.decode())
        assert (again.namespace, again.id, again.data) == (
            packet.namespace,
            packet.id,
            packet.data,
        )


def cookies(data: bytes) -> None:
    """No cookie that the server did not sign is accepted, whatever stands around it."""
    headers = data.decode("latin-1").split("\n")
    cookie_jar(headers)
    for secure in (False, True):
        assert _COOKIE.read(headers, secure=secure) == []
    signed = _COOKIE.set(_ID, secure=False, max_age=60).partition(";")[0]
    found = [each.session_id for each in _COOKIE.read([*headers, signed], secure=False)]
    assert found in ([_ID], [])  # at most eight cookies of one name are read


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    username: str
    password: str = ""
    count: int | None = None


def forms(data: bytes) -> None:
    """A body is read, or refused with 400, 415 or 422."""
    kind, _, body = data.partition(b"\n")
    headers = HTTPHeaders({"Content-Type": kind.decode("latin-1").strip()})
    request: Any = SimpleNamespace(headers=headers, body=body, body_arguments={})
    with contextlib.suppress(HTTPInputError):
        parse_body_arguments(headers["Content-Type"], body, request.body_arguments, {})
    for read in (
        lambda: read_fields(request, "username", "password"),
        lambda: read_json(request, _Fields),
    ):
        try:
            read()
        except HTTPError as error:
            if error.status_code not in (400, 415, 422):
                raise


TARGETS: MappingProxyType[str, Callable[[bytes], None]] = MappingProxyType(
    {target.__name__: target for target in (head, chunks, frames, packets, cookies, forms)}
)


def inputs(name: str) -> list[Path]:
    """Return the corpus of a target."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())
