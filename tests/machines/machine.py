"""An empty machine: a Debian or Ubuntu made by debootstrap, with systemd as its PID 1."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

from tests.machines.base_system import debootstrap
from tests.support.requirements import find_program

BOOT = Path(__file__).with_name("boot")
# so that pip and npm trust the certificates that the host trusts
_NAMES = ("PIP_CERT", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """A machine in a folder; `start` boots it, and `run` is a new shell of root on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._boot: subprocess.Popen[bytes] | None = None
        self._network: subprocess.Popen[bytes] | None = None
        self._environ = {name: os.environ[name] for name in _NAMES if name in os.environ}

    def make(self, release: str) -> None:
        """Install the release's base system from its archive."""
        debootstrap(self.root, release)
        resolver = self.root / "etc" / "resolv.conf"
        resolver.unlink(missing_ok=True)
        resolver.write_text("nameserver 10.0.2.3\n")  # slirp4netns passes it on to the host's

    @property
    def pid(self) -> int:
        """Its PID 1, as the host sees it."""
        assert self._boot is not None
        children = Path(f"/proc/{self._boot.pid}/task/{self._boot.pid}/children").read_text()
        return int(children)

    def start(self) -> None:
        """Boot it, connect it to the archives, and wait until all its services are started."""
        self._boot = subprocess.Popen([BOOT, self.root], stdin=subprocess.DEVNULL)
        self._wait_for_systemd()
        self._network = subprocess.Popen(
            [find_program("slirp4netns"), "--configure", "--mtu=65520", str(self.pid), "tap0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.run("until systemctl is-system-running --wait; do sleep 1; done")

    def stop(self) -> None:
        """Switch it off without a shutdown."""
        for process in (self._network, self._boot):
            if process is not None:
                process.kill()
                process.wait()

    def reboot(self) -> None:
        """Shut it down by its own command, and boot it again."""
        assert self._boot is not None
        self.run("systemctl reboot", check=False)
        self._boot.wait(120)
        self.stop()
        self.start()

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a script in a new shell that stops at the first error; return what it printed."""
        environ = {"PATH": _PATH, "HOME": "/" + "root", "LANG": "C.UTF-8", **self._environ}
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "bash", "-e", "-o", "pipefail", "-c", script],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def _wait_for_systemd(self) -> None:
        end = time.monotonic() + 60
        while True:
            # it does not exist yet, or it is still the shell that prepares the namespaces
            with contextlib.suppress(OSError, ValueError):
                if Path(f"/proc/{self.pid}/comm").read_text() == "systemd\n":
                    return
            assert time.monotonic() < end, "the machine does not boot"
            time.sleep(0.05)
