"""python-socketio on Tornado as its documentation shows it, with a session wired in by hand."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import socketio
import tornado.web

from bench.servers.wiring import Sessions, wire

SECRET = "only for the bench"


class Increment(tornado.web.RequestHandler):
    def initialize(self, sio: socketio.AsyncServer, sessions: Sessions) -> None:
        self.sio, self.sessions = sio, sessions

    async def post(self) -> None:
        known = self.get_signed_cookie("session")
        session_id, count = await self.sessions.increment(known.decode() if known else None)
        if known is None:
            self.set_signed_cookie("session", session_id, httponly=True)
        await self.sio.emit("current count", count, room=session_id)
        self.set_header("Content-Type", "text/plain")
        self.write(str(count))


def session_cookie(environ: dict[str, Any]) -> str | None:
    """The session id in the signed cookie of a handshake, or None."""
    known = environ["tornado.handler"].get_signed_cookie("session")
    return known.decode() if known else None


async def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--ping-interval", type=int, default=25, help="seconds")
    options = arguments.parse_args()
    sio = socketio.AsyncServer(async_mode="tornado", ping_interval=options.ping_interval)
    sessions = Sessions()
    wire(sio, sessions, session_cookie)
    application = tornado.web.Application(
        [
            (r"/incr", Increment, {"sio": sio, "sessions": sessions}),
            (r"/socket.io/", socketio.get_tornado_handler(sio)),
        ],
        cookie_secret=SECRET,
    )
    application.listen(options.port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
