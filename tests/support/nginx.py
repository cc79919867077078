"""nginx on loopback ports, with deploy/nginx.conf adapted to this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.proxy import Proxy

# folders for large bodies, which an ordinary user may write
_PLACES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx(Proxy):
    """nginx in front of these ports, at https://localhost:PORT, with a certificate of its own."""

    name = "nginx"
    configuration = "nginx.conf"

    def changes(self) -> Mapping[str, str]:
        temporary = "".join(f"    {what}_temp_path {self.folder}/{what};\n" for what in _PLACES)
        return {
            r"http \{\n": f"http {{\n{temporary}",
            r"/run/nginx\.pid": f"{self.folder}/pid",
            r"/var/log/nginx/": f"{self.folder}/",
            r"/etc/letsencrypt/live/latchkey/fullchain\.pem": f"{self.folder}/certificate.pem",
            r"/etc/letsencrypt/live/latchkey/privkey\.pem": f"{self.folder}/key.pem",
            r"/var/www/acme": f"{self.folder}/acme",
            r"https://example\.com\$": f"{self.url}$",
            r"\bexample\.com\b": "localhost",
            # the example of a trusted origin
            r'# "https://app\.example\.org"': '"https://app.example.org"',
            # loopback only, and not every machine that tests has IPv6
            r".*listen \[::\]:.*\n": "",
            r"listen 443\b": f"listen 127.0.0.1:{self.port}",
            r"listen 80\b": f"listen 127.0.0.1:{self.plain_port}",
        }

    def command(self) -> Sequence[str | Path]:
        return [*self._base(), "-g", "daemon off;"]

    def check(self) -> None:
        tried = subprocess.run([*self._base(), "-t"], capture_output=True, text=True, check=False)
        assert tried.returncode == 0, tried.stderr
        assert "[warn]" not in tried.stderr, tried.stderr

    def _base(self) -> list[str | Path]:
        return [self.program, "-c", self.path, "-e", self.folder / "start"]
