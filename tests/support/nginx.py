"""nginx on loopback ports, with deploy/nginx.conf adapted to this machine."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support import leftovers
from tests.support.paths import ROOT
from tests.support.ports import free_port, wait_until_open
from tests.support.requirements import find_program

CONFIGURATION = ROOT / "deploy" / "nginx.conf"


class Nginx:
    """nginx in front of these ports, as https://localhost:PORT, with a self-signed certificate."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._program = find_program("nginx")
        self.port, self.plain_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}"
        # nginx's worker may be another user, who cannot read pytest's folder
        self.folder = Path(tempfile.mkdtemp(prefix="latchkey-nginx-"))
        self.folder.chmod(0o755)
        self._certify()
        shutil.copytree(ROOT / "static", self.folder / "static")
        self._ports = list(ports)
        (self.folder / "nginx.conf").write_text(self._rewritten())
        self._process: subprocess.Popen[bytes] | None = None

    def _certify(self) -> None:
        options = (
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            "-subj /CN=localhost -addext subjectAltName=DNS:localhost "
            "-keyout key.pem -out certificate.pem"
        )
        subprocess.run(
            [find_program("openssl"), *options.split()],
            cwd=self.folder,
            capture_output=True,
            check=True,
        )

    def _rewritten(self) -> str:
        """Return the configuration for this machine: ports, paths and the name, nothing else."""
        text = CONFIGURATION.read_text(encoding="utf-8")
        changes = {
            r"/run/nginx\.pid": f"{self.folder}/pid",
            r"/var/log/nginx/": f"{self.folder}/",
            r"/etc/letsencrypt/live/latchkey/fullchain\.pem": f"{self.folder}/certificate.pem",
            r"/etc/letsencrypt/live/latchkey/privkey\.pem": f"{self.folder}/key.pem",
            r"/var/www/acme": f"{self.folder}/acme",
            r"/opt/latchkey/static/": f"{self.folder}/static/",
            r"https://example\.com\$": f"{self.url}$",
            r"\bexample\.com\b": "localhost",
            # the example of a trusted origin
            r'# "https://app\.example\.org"': '"https://app.example.org"',
            # loopback only, and not every machine that tests has IPv6
            r".*listen \[::\]:.*\n": "",
            r"listen 443\b": f"listen 127.0.0.1:{self.port}",
            r"listen 80\b": f"listen 127.0.0.1:{self.plain_port}",
        }
        for number, port in enumerate(self._ports):
            changes[rf"127\.0\.0\.1:{8880 + number}\b"] = f"127.0.0.1:{port}"
        for old, new in changes.items():
            text, times = re.subn(old, new.replace("\\", r"\\"), text)
            assert times, f"deploy/nginx.conf has no {old}"
        # folders for large bodies, which an ordinary user may write
        places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"    {what}_temp_path {self.folder}/{what};\n" for what in places)
        return text.replace("http {\n", "http {\n" + temporary, 1)

    def start(self) -> None:
        """Start it; a warning about the configuration fails."""
        command: list[str | Path] = [self._program]
        command += ["-c", self.folder / "nginx.conf", "-e", self.folder / "start"]
        tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert tried.returncode == 0, tried.stderr
        assert "[warn]" not in tried.stderr, tried.stderr
        self._process = subprocess.Popen(
            [*command, "-g", "daemon off;"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        leftovers.watch(self._process)
        wait_until_open(self.port, self._process, self.folder / "error.log")

    def stop(self) -> None:
        """Stop it and remove its files."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
        shutil.rmtree(self.folder)

    @property
    def trust(self) -> ssl.SSLContext:
        """A TLS context that trusts the certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "certificate.pem"))

    def log(self, name: str) -> str:
        return (self.folder / name).read_text()
