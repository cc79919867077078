"""The counter of the tests: one number per session, raised by a page and by a socket."""

from __future__ import annotations

from pathlib import Path

from tests.support.demo.session import BaseHandler, BaseNamespace


class CounterHandler(BaseHandler):
    """The home page, open to everyone."""

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.render(str(Path(__file__).with_name("counter.html")))


class IncrementHandler(BaseHandler):
    """Raise the counter by one."""

    async def post(self) -> None:
        async with self.session as data:
            data.count += 1
        await self.emit_to_session("current count", data.count)
        if "text/html" in self.request.headers.get("Accept", ""):
            self.redirect("/", status=303)
        else:
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.write(str(data.count))


class CounterNamespace(BaseNamespace):
    """The counter's sockets, open to everyone."""

    async def on_incr(self, sid: str) -> int:
        """Raise the counter, tell the session's other sockets, and ack the new count."""
        async with self.session_for(sid) as data:
            data.count += 1
        await self.emit_to_session(sid, "current count", data.count)
        return data.count

    async def on_count(self, sid: str) -> int:
        """Ack the count."""
        return (await self.session_for(sid)).data.count

    async def on_whoami(self, sid: str) -> str | None:
        """Ack the name of the user, or null."""
        return await self.user_for(sid)


routes = [(r"/", CounterHandler), (r"/incr", IncrementHandler)]
namespaces = [("/", CounterNamespace)]
