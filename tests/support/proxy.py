"""A proxy on loopback ports, with its configuration of deploy/ adapted to this machine."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tests.support import leftovers
from tests.support.paths import ROOT
from tests.support.ports import free_port, wait_until_open
from tests.support.requirements import find_program


class Proxy:
    """A proxy in front of these ports, as https://localhost:PORT, with a self-signed certificate.

    A subclass names the program and its configuration, and says how to start it.
    """

    name: ClassVar[str]
    configuration: ClassVar[str]  # in deploy/

    def __init__(self, ports: Sequence[int]) -> None:
        self.program = find_program(self.name)
        self.port, self.plain_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}"
        # a worker may be another user, who cannot read pytest's folder
        self.folder = Path(tempfile.mkdtemp(prefix=f"latchkey-{self.name}-"))
        self.folder.chmod(0o755)
        self._certify()
        shutil.copytree(ROOT / "static", self.folder / "static")
        self.path = self.folder / self.configuration
        self.path.write_text(self._rewritten(ports))
        self._process: subprocess.Popen[bytes] | None = None

    def changes(self) -> Mapping[str, str]:
        """Return what this machine needs otherwise: patterns, and what replaces them."""
        raise NotImplementedError

    def command(self) -> Sequence[str | Path]:
        """Return the command that runs it in the foreground."""
        raise NotImplementedError

    def check(self) -> None:
        """Fail if the program has anything to say against the configuration."""
        raise NotImplementedError

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

    def _rewritten(self, ports: Sequence[int]) -> str:
        """Return the configuration for this machine: ports, paths and the name, nothing else."""
        text = (ROOT / "deploy" / self.configuration).read_text(encoding="utf-8")
        changes = {r"/opt/latchkey/static": f"{self.folder}/static", **self.changes()}
        for number, port in enumerate(ports):
            changes[rf"127\.0\.0\.1:{8880 + number}\b"] = f"127.0.0.1:{port}"
        for old, new in changes.items():
            text, times = re.subn(old, new, text)
            assert times or "static" in old, f"deploy/{self.configuration} has no {old}"
        return text

    def start(self) -> None:
        """Start it; a warning about the configuration fails."""
        self.check()
        with (self.folder / "start").open("wb") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        leftovers.watch(self._process)
        wait_until_open(self.port, self._process, self.folder / "start")

    def stop(self) -> None:
        """Stop it and remove its files."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder)

    @property
    def trust(self) -> ssl.SSLContext:
        """A TLS context that trusts the certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "certificate.pem"))

    def log(self, name: str) -> str:
        return (self.folder / name).read_text()
