"""A site whose program is a few lines, so that a release starts in a moment."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.release_site import ReleaseSite

# `--check` fails if the release has a file `refused`, and a process is never ready if it has a file
# `unready` with its number. `started` gets a line for each start: the number, and the release.
PROGRAM = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

flags = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
number = flags["process-number"]
if "check" in flags:
    sys.exit("the settings are wrong" if Path("refused").exists() else 0)
with Path("{started}").open("a") as file:
    file.write(f"{{number}} {{Path('name').read_text()}}\\n")
unready = Path("unready").read_text().split() if Path("unready").exists() else []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if number in unready else 200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


HTTPServer(("127.0.0.1", int(flags["port"])), Handler).serve_forever()
"""
# The database is a file with the revision of one module; `revision` is the newest of a release.
DATABASE = """
import json
import sys
from pathlib import Path

database, newest = Path("{database}"), Path("revision").read_text()
if sys.argv[1] == "upgrade":
    database.write_text(newest)
elif sys.argv[1] == "downgrade":
    database.write_text(sys.argv[3])
has = database.read_text() if database.exists() else None
print(json.dumps({{"notes": {{"revision": has, "head": newest, "newer": (has or "") > newest}}}}))
"""
CLIENT = """
LOCAL = "vendor/client.js"


def is_client(content):
    return content == b"client"
"""


class FakeSite(ReleaseSite):
    """The release v1 is committed, and has the revision 1 of its tables."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._script("python", f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
        self.database, self._started = self.root / "database", self.root / "started"
        self.write("app/__init__.py", "")
        self.write("app/__main__.py", PROGRAM.format(started=self._started))
        self.write("app/database.py", DATABASE.format(database=self.database))
        self.write("app/socketio_client.py", CLIENT)
        self.write("static/vendor/client.js", "client")
        self.release("v1")

    def release(self, tag: str, files: Mapping[str, str] = {}, *, revision: int = 1) -> None:
        """Commit a release with these files, and without those of the release before."""
        for name in ("refused", "unready", "app/broken.py"):
            (self.source / name).unlink(missing_ok=True)
        self.write("name", tag)
        self.write("revision", str(revision))
        for name, text in files.items():
            self.write(name, text)
        self.commit(tag)

    def started(self) -> list[str]:
        """Return the number and the release of each process that was started, in order."""
        return self._started.read_text().splitlines() if self._started.exists() else []

    def change(self, **options: object) -> None:
        """Set options of release.toml."""
        path = self.root / "release.toml"
        lines = [
            line for line in path.read_text().splitlines() if line.split(" = ")[0] not in options
        ]
        lines += [f"{name} = {json.dumps(value)}" for name, value in options.items()]
        path.write_text("\n".join(lines) + "\n")
