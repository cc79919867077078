"""What a site promises, on one page: who is signed in, what a session counts, when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

IDLE_TIMEOUT = 1000.0  # seconds


@dataclass(eq=False)
class Session:
    """A session; `seen` is the time of its latest activity."""

    user: str | None
    count: int
    seen: float
    ended: str | None = None  # the reason


@dataclass
class Model:
    """Accounts, and the session that each browser has."""

    now: float = 0.0
    accounts: set[str] = field(default_factory=set[str])
    browsers: dict[int, Session | None] = field(default_factory=dict[int, Session | None])

    def session(self, browser: int) -> Session | None:
        """Return the session of a browser, unless it has ended."""
        session = self.browsers.get(browser)
        return session if session is not None and session.ended is None else None

    def user(self, browser: int) -> str | None:
        session = self.session(browser)
        return session.user if session else None

    def touch(self, browser: int) -> None:
        """A browser asks for a page."""
        if session := self.session(browser):
            session.seen = self.now

    def open(self, browser: int) -> Session:
        """Return the session of a browser, a new one for a visitor without any."""
        session = self.session(browser) or Session(None, 0, self.now)
        self.browsers[browser] = session
        session.seen = self.now
        return session

    def increment(self, session: Session) -> int:
        session.count += 1
        session.seen = self.now
        return session.count

    def sign_in(self, browser: int, user: str) -> None:
        """The id is a new one; the data of a visitor and of the same user is kept."""
        old = self.session(browser)
        kept = old.count if old and old.user in (None, user) else 0
        if old:
            old.ended = "regenerated"
        self.browsers[browser] = Session(user, kept, self.now)

    def sign_out(self, browser: int) -> None:
        if session := self.session(browser):
            session.ended = "logout"

    def revoke_others(self, browser: int) -> None:
        """All other sessions of the user end."""
        own = self.session(browser)
        for session in self.browsers.values():
            if own and session and session is not own and session.user == own.user:
                session.ended = session.ended or "revoked"

    def advance(self, seconds: float) -> None:
        """Sessions that were idle for too long end."""
        self.now += seconds
        for session in self.browsers.values():
            if session and self.now - session.seen > IDLE_TIMEOUT:
                session.ended = session.ended or "idle"
