"""Who is signed in and until when, for pages that a script draws."""

import math

from handlers.session import BaseHandler


class SignedInHandler(BaseHandler):
    """JSON about the session; it neither creates nor prolongs one."""

    is_activity = False

    def get(self) -> None:
        session, lifetimes = self.session, self.services.sessions.lifetimes
        authentication = session.authentication
        now = self.services.sessions.clock()
        latest = math.inf if session.record is None else now + lifetimes.time_left(session.record)
        self.set_header("Cache-Control", "no-store")
        self.write(
            {
                "user": session.user,
                "user_id": session.user_id,
                # when the user has last proven who they are, and who uses their account if not they
                "authenticated": _seconds(authentication.time or math.inf),
                "actor": None if session.actor is None else session.actor.name,
                "expires": _seconds(session.expires),
                "expires_at_latest": _seconds(latest),
                "now": int(now),
            }
        )


def _seconds(time: float) -> int | None:
    """Return whole seconds since 1970; None for never."""
    return None if math.isinf(time) else int(time)


routes = [(r"/session", SignedInHandler)]
