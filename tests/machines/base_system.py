"""The base system of a release of Debian or Ubuntu, in a folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.requirements import find_program, skip

_DEBIAN = "http://" + ".".join(("deb", "debian", "org")) + "/debian"
_UBUNTU = "http://archive.ubuntu.com/ubuntu"
# Debian's debootstrap knows no release of Ubuntu that is newer than itself
_UBUNTU_SCRIPT = "/usr/share/debootstrap/scripts/gutsy"
# Debian has no package with Ubuntu's keys
_UBUNTU_OPTIONS = ("--no-check-gpg", "--components=main,universe")
# where the host has certificates of its own, so that pip and npm work there too
_CERTIFICATES = "usr/local/share/ca-certificates"


def debootstrap(folder: Path, release: str, *options: str) -> None:
    """Install the base system of a release from its archive; without one the test is skipped."""
    source = ["--components=main", release, str(folder), _DEBIAN]
    if release == "noble":
        source = [*_UBUNTU_OPTIONS, release, str(folder), _UBUNTU, _UBUNTU_SCRIPT]
    log = folder.with_suffix(".log")
    with log.open("wb") as file:
        command = [find_program("debootstrap"), *options, *source]
        done = subprocess.run(command, stdout=file, stderr=file, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        skip(f"{release} could not be installed: {log.read_text()[-500:]}")
    shutil.copytree(Path("/", _CERTIFICATES), folder / _CERTIFICATES, dirs_exist_ok=True)
    update = "! command -v update-ca-certificates || update-ca-certificates"
    subprocess.run(["chroot", folder, "sh", "-c", update], capture_output=True, check=True)
