"""HAProxy on loopback ports, with deploy/haproxy.cfg adapted to this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.proxy import Proxy


class Haproxy(Proxy):
    """HAProxy in front of these ports, at https://localhost:PORT, with a certificate of its own."""

    name = "haproxy"
    configuration = "haproxy.cfg"

    def changes(self) -> Mapping[str, str]:
        pem = self.folder / "both.pem"
        parts = (self.folder / name for name in ("certificate.pem", "key.pem"))
        pem.write_text("".join(part.read_text() for part in parts))
        return {
            r"    (user|group) haproxy\n": "",
            r"maxconn 16384": "maxconn 500",
            r"log /dev/log local0 notice": "log stdout format raw local0 info",
            r"/etc/haproxy/latchkey\.pem": str(pem),
            r"https://example\.com\b": self.url,
            r"bind :443": f"bind 127.0.0.1:{self.port}",
            r"bind :80": f"bind 127.0.0.1:{self.plain_port}",
        }

    def command(self) -> Sequence[str | Path]:
        return [self.program, "-db", "-f", self.path]

    def check(self) -> None:
        tried = subprocess.run(
            [self.program, "-c", "-f", self.path], capture_output=True, text=True, check=False
        )
        assert tried.returncode == 0, tried.stderr
        assert "WARNING" not in tried.stderr, tried.stderr
