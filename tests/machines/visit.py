"""visit.py URL CERTIFICATE COOKIES: a browser's visit, with the standard library alone.

It signs in (the first time it registers), and counts by pages and by sockets until both processes
have had a socket. The cookies stay in a file, so the next visit goes on with the same session. It
prints the counter after the last page, and the numbers of the processes.
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import LWPCookieJar
from pathlib import Path

TIMEOUT = 20  # seconds of each request
SOCKETS = 20  # at most, until two processes had one


class Visit:
    """The requests of one browser."""

    def __init__(self, site: str, certificate: str, cookies: Path) -> None:
        self._site = site
        self._jar = LWPCookieJar(str(cookies))
        self.known = cookies.exists()
        if self.known:
            self._jar.load(ignore_discard=True)
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=certificate)),
            urllib.request.HTTPCookieProcessor(self._jar),
        )

    def ask(self, path: str, body: str | None = None) -> str:
        """Return the body of a response, POST if there is a body; end at status 400 and up."""
        data = None if body is None else body.encode()
        request = urllib.request.Request(self._site + path, data)
        request.add_header("Origin", self._site)
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                text: str = answer.read().decode()
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {error}: {error.read().decode()}")
        self._jar.save(ignore_discard=True)
        return text

    def register(self) -> None:
        """Make the account ann, which signs her in."""
        password = "violet tramway 77"
        self.ask("/register", urllib.parse.urlencode({"username": "ann", "password": password}))

    def page(self) -> int:
        """Count by a page."""
        return int(self.ask("/incr", ""))

    def socket(self) -> tuple[str, int]:
        """Count by a socket; return the number of its process, and the counter."""
        path = "/socket.io/?EIO=4&transport=polling"
        sid: str = json.loads(self.ask(path)[1:])["sid"]
        path += f"&sid={sid}"
        self.ask(path, "40")
        self._wait_for(path, "40")  # the server refuses events of a client that has not joined
        self.ask(path, '420["incr"]')
        answer = self._wait_for(path, "430")
        self.ask(path, "41")
        return sid.partition("-")[0], int(json.loads(answer)[0])

    def _wait_for(self, path: str, start: str) -> str:
        """Poll until a packet begins so; return the rest of it."""
        while True:
            packets = self.ask(path).split("\x1e")
            if any(packet.startswith(("1", "41", "44")) for packet in packets):
                sys.exit(f"{path}: the server closed the socket: {packets}")
            for packet in packets:
                if packet.startswith(start):
                    return packet.removeprefix(start)


def main(site: str, certificate: str, cookies: str) -> None:
    visit = Visit(site, certificate, Path(cookies))
    if not visit.known:
        visit.ask("/register")
        visit.register()
    assert "ann" in visit.ask("/"), "nobody is signed in"
    count, processes = visit.page(), set()
    for _ in range(SOCKETS):
        process, counted = visit.socket()
        processes.add(process)
        assert counted == count + 1, f"the socket has {counted}, the page {count}"
        count = visit.page()
        assert count == counted + 1, f"the page has {count}, the socket {counted}"
        if len(processes) > 1:
            break
    print(json.dumps({"count": count, "processes": sorted(processes)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
