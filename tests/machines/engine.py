"""A container engine without a daemon: buildah, podman and runc in namespaces of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.machines.base_system import debootstrap
from tests.support.paths import ROOT
from tests.support.requirements import find_program

IMAGES = Path(__file__).with_name("images")
# what the stand-ins of the official images are made of
BASES = {
    "python": ("trixie", "python3,python3-venv,ca-certificates"),
    "services": ("bookworm", "nginx-light,redis-server,postgresql,openssl"),
}
# podman cannot give more descriptors or processes than this machine has
_CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
pids_limit = 0
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
helper_binaries_dir = ["/usr/libexec/podman", "/usr/lib/podman", "/usr/bin"]
init_path = "/usr/bin/catatonit"
[network]
network_backend = "netavark"
"""
# a namespace of processes too: what runs in it ends with it
_UNSHARE = "unshare --mount --net --pid --fork --kill-child --propagation private sh -ec"
_HOLD = """mount -t proc proc /proc
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
exec sleep infinity"""
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class Engine:
    """Builds images and runs containers; nothing of the host's own engine is used or changed."""

    def __init__(self, folder: Path, bases: Path | None) -> None:
        for program in ("buildah", "podman", "runc", "catatonit"):
            find_program(program)
        self.folder = folder
        self._bases = bases or folder / "bases"
        self._bases.mkdir(parents=True, exist_ok=True)
        self._configuration = folder / "containers.conf"
        self._configuration.write_text(_CONFIGURATION)
        self._place = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]
        self._hold = subprocess.Popen([*_UNSHARE.split(), _HOLD])

    def stop(self) -> None:
        """Remove all containers and images."""
        self.podman("pod", "rm", "--all", "--force", check=False)
        self.podman("rm", "--all", "--force", check=False)
        self._hold.kill()
        self._hold.wait()
        # a build that fails leaves its file system mounted
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted(mounted, reverse=True):
            if place.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", place], check=False)

    def build(self, tag: str, file: Path, context: Path, *options: str) -> None:
        """Build an image of a Dockerfile, with the network of the host for its RUN lines."""
        command: list[str | Path] = ["buildah", *self._place, "bud", "--isolation", "chroot"]
        command += ["--pull-never", "--format", "docker", "--layers", "--tag", tag]
        done = subprocess.run(
            [*command, "--file", file, *options, context],
            env={**os.environ, "CONTAINERS_CONF": str(self._configuration)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def build_base(self, tag: str, name: str, base: str, *options: str) -> None:
        """Build a stand-in for an official image, on a base system of Debian."""
        release, packages = BASES[base]
        system = self._bases / base
        if not system.exists():
            debootstrap(system, release, "--variant=minbase", f"--include={packages}")
        context = self.folder / "context"
        context.mkdir(exist_ok=True)
        shutil.copytree(IMAGES, context, dirs_exist_ok=True)
        subprocess.run(["cp", "-a", "--reflink=auto", system, context], check=True)
        # the machine's certificates, for the RUN lines of the image that is made of it
        names = [name for name in ("PIP_CERT", "NODE_EXTRA_CA_CERTS") if name in os.environ]
        options += tuple(f"--env={name}={_CERTIFICATES}" for name in names)
        self.build(tag, IMAGES / f"{name}.Dockerfile", context, *options)

    def build_ours(self, target: str, tag: str) -> None:
        """Build a stage of the Dockerfile."""
        self.build(tag, ROOT / "Dockerfile", ROOT, "--target", target)

    def podman(self, *arguments: str, check: bool = True) -> str:
        """Run podman; return what it printed."""
        return self.enter("podman", *self._place, *arguments, check=check)

    def enter(self, *command: str, check: bool = True) -> str:
        """Run a command in the namespaces of the containers; return what it printed."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._first), "-m", "-n", "-p", *command],
            env={**os.environ, "CONTAINERS_CONF": str(self._configuration)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    @property
    def _first(self) -> int:
        """The first process in the namespaces, as the host sees it."""
        hold = self._hold.pid
        return int(Path(f"/proc/{hold}/task/{hold}/children").read_text())

    def healthy(self, container: str) -> bool:
        """Whether the container's own check says so; a container that ended is started again."""
        self.podman("start", container, check=False)
        checked = self.podman("healthcheck", "run", container, check=False)
        return not any(word in checked for word in ("unhealthy", "Error", "error:", "not running"))

    def until(self, done: Callable[[], bool], seconds: float = 90) -> None:
        """Wait until it is so."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, self.podman("ps", "--all", check=False)
            time.sleep(0.2)
