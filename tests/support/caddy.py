"""Caddy on loopback ports, with deploy/Caddyfile adapted to this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.proxy import Proxy


class Caddy(Proxy):
    """Caddy in front of these ports, at https://localhost:PORT, with a certificate of its own."""

    name = "caddy"
    configuration = "Caddyfile"

    def changes(self) -> Mapping[str, str]:
        options = (
            f"{{\n\tadmin off\n\tocsp_stapling off\n\tstorage file_system {self.folder}/storage\n"
            f"\thttp_port {self.plain_port}\n\thttps_port {self.port}\n\tdefault_bind 127.0.0.1\n"
        )
        certificate = f"\ttls {self.folder}/certificate.pem {self.folder}/key.pem\n"
        return {
            # the first block is that of global options
            r"(?m)\A((?:#.*\n|\n)*)\{\n": rf"\g<1>{options}",
            r"example\.com \{\n": f"localhost {{\n{certificate}",
            r"/var/log/caddy/": f"{self.folder}/",
        }

    def command(self) -> Sequence[str | Path]:
        return [self.program, "run", "--adapter", "caddyfile", "--config", self.path]

    def check(self) -> None:
        options = ("--adapter", "caddyfile", "--config", self.path)
        tried = subprocess.run(
            [self.program, "validate", *options], capture_output=True, text=True, check=False
        )
        assert tried.returncode == 0, tried.stderr
        assert '"level":"warn"' not in tried.stderr, tried.stderr
