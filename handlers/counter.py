"""The counter: one number in each session, incremented by a page and by a socket."""

from handlers.session import BaseHandler, BaseNamespace


class CounterHandler(BaseHandler):
    """The start page, open to everyone."""

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        deleted = self.get_query_argument("done", "") == "account-deleted"
        self.render("counter.html", notice="Your account is deleted." if deleted else "")


class IncrementHandler(BaseHandler):
    """Adds one; a script gets the new count as text, a form the start page."""

    async def post(self) -> None:
        async with self.session as data:
            data.count += 1
        await self.emit_to_session("current count", data.count)
        if "text/html" in self.request.headers.get("Accept", ""):
            self.redirect(self.url("/"), status=303)
        else:
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.write(str(data.count))


class CounterNamespace(BaseNamespace):
    """The sockets of the page, open to everyone."""

    async def on_incr(self, sid: str) -> int:
        """Add one, send the count to the other sockets of the session, and ack it."""
        async with self.session_for(sid) as data:
            data.count += 1
        await self.emit_to_session(sid, "current count", data.count)
        return data.count

    async def on_count(self, sid: str) -> int:
        """Ack the count."""
        return (await self.session_for(sid)).data.count

    async def on_whoami(self, sid: str) -> str | None:
        """Ack the name of the user, or null for a visitor."""
        return await self.user_for(sid)


routes = [(r"/", CounterHandler), (r"/incr", IncrementHandler)]
namespaces = [("/", CounterNamespace)]
