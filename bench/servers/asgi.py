"""python-socketio's ASGI application on uvicorn, with the same hand-wired session."""

from __future__ import annotations

import argparse
from http.cookies import SimpleCookie
from typing import Any

import itsdangerous
import socketio
import uvicorn

from bench.servers.wiring import Sessions, wire

signer = itsdangerous.TimestampSigner("only for the bench")


def session_cookie(environ: dict[str, Any]) -> str | None:
    """The session id in the signed cookie of a request or handshake, or None."""
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("session")
    try:
        return signer.unsign(cookie.value).decode() if cookie else None
    except itsdangerous.BadSignature:
        return None


class Pages:
    """`POST /incr` as a bare ASGI application: no framework's cost is added to uvicorn's."""

    def __init__(self, sio: socketio.AsyncServer, sessions: Sessions) -> None:
        self.sio, self.sessions = sio, sessions

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        cookies = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
        known = session_cookie({"HTTP_COOKIE": cookies.decode("latin-1")})
        session_id, count = await self.sessions.increment(known)
        await self.sio.emit("current count", count, room=session_id)
        body = str(count).encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        if known is None:
            cookie = b"session=" + signer.sign(session_id) + b"; HttpOnly; Path=/"
            headers.append((b"set-cookie", cookie))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--ping-interval", type=int, default=25, help="seconds")
    options = arguments.parse_args()
    sio = socketio.AsyncServer(async_mode="asgi", ping_interval=options.ping_interval)
    sessions = Sessions()
    wire(sio, sessions, session_cookie)
    application = socketio.ASGIApp(sio, Pages(sio, sessions))
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=options.port,
        log_level="error",
        access_log=False,
        ws_ping_interval=None,  # Engine.IO has its own heartbeat
    )


if __name__ == "__main__":
    main()
