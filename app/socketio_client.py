"""The Socket.IO client for browsers: its version, its hash and its URL.

`build_backend.py` loads this file, so it needs nothing but the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("latchkey.assets")

PACKAGE = "socket.io-client"  # on npm
VERSION = "4.8.3"
FILE = "dist/socket.io.min.js"  # in the package
# of npm's file, and what Socket.IO's documentation prints for its CDN's (W3C Subresource Integrity)
INTEGRITY = "sha384-kzavj5fiMwLKzzD1f8S7TeoVIEi7uKHvbTA3ueZkrzYq75pNQUiUi6Dy98Q3fxb0"
CDN = f"https://cdn.socket.io/{VERSION}/socket.io.min.js"
LOCAL = "vendor/socket.io.min.js"  # in the static folder


class Script(NamedTuple):
    """A script of a page; `integrity` is None if this server has the file."""

    url: str
    integrity: str | None

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources that the Content-Security-Policy must allow besides 'self'."""
        return () if self.integrity is None else (self.url,)


CDN_SCRIPT = Script(CDN, INTEGRITY)


def is_client(content: bytes) -> bool:
    """Return whether these bytes are the pinned client."""
    digest = base64.b64encode(hashlib.sha384(content).digest()).decode()
    return f"sha384-{digest}" == INTEGRITY


def client_script(static: Path, base_path: str = "") -> Script:
    """Return the client in the static folder if the build put it there, else that of the CDN.

    `base_path` is the path below which the application serves /static/.
    """
    try:
        content = (static / LOCAL).read_bytes()
    except OSError:
        log.info(
            "there is no %s, so pages load the Socket.IO client from %s; "
            "run pip install -v -e . to see why the build did not fetch it",
            static / LOCAL,
            CDN,
        )
        return CDN_SCRIPT
    if not is_client(content):
        log.warning(
            "%s is not %s %s, so pages load it from %s; delete the file and run "
            "pip install -e . again",
            static / LOCAL,
            PACKAGE,
            VERSION,
            CDN,
        )
        return CDN_SCRIPT
    return Script(f"{base_path}/static/{LOCAL}?v={VERSION}", None)
