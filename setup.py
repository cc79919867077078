"""Packaging. Building also fetches the browser's Socket.IO client, by npm, checked by hash."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from setuptools import Extension, find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop
from setuptools.command.editable_wheel import editable_wheel
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # an isolated build looks everywhere but here

from app import assets  # noqa: E402

# an unreachable registry is given up after seconds, where npm would try for more than a minute
NPM_OPTIONS = (
    "--silent",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",  # milliseconds, as the next one
    "--fetch-timeout=60000",
)
PATIENCE = 120  # seconds


class NotFetched(Exception):
    """The client could not be had; the text says why."""


def download() -> bytes:
    """Return the pinned client out of its npm package; raises NotFetched."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(  # noqa: S603  (constants only)
                [npm, "pack", *NPM_OPTIONS, f"{assets.PACKAGE}@{assets.VERSION}"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE,
                check=True,
            )
            (archive,) = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as package:
                file = package.extractfile(f"package/{assets.FILE}")
                content = file.read() if file is not None else b""
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, tarfile.TarError) as why:
            raise NotFetched(f"npm could not fetch it ({type(why).__name__})") from why
    if not assets.is_client(content):
        raise NotFetched("what npm fetched does not have the hash in app/assets.py")
    return content


@functools.cache  # several commands of one build ask for it; one attempt and one warning will do
def fetch_client(static: Path) -> None:
    """Put the client into the static folder, unless it is there; without it, warn and go on."""
    target = static / assets.LOCAL
    try:
        if target.is_file() and assets.is_client(target.read_bytes()):
            return
        content = download()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    except (NotFetched, OSError) as why:
        print(
            f"warning: {assets.PACKAGE} {assets.VERSION} is not in {target.parent}, so pages "
            f"load it from its CDN: {why}",
            file=sys.stderr,
        )


def with_client(command: type[Any]) -> type[Any]:
    """Return this command of setuptools, run after the client was fetched."""

    def run(self: Any) -> None:
        fetch_client(HERE / "static")
        command.run(self)

    return type(command.__name__, (command,), {"run": run})


REDIS = ["redis>=5.0.1", "hiredis>=3.2"]
POSTGRESQL = ["psycopg[binary]>=3.3"]
BENCH = ["uvicorn[standard]>=0.30"]

if __name__ == "__main__":
    setup(
        name="latchkey",
        version="0.1.0",
        description="One login session for your web pages and your Socket.IO sockets",
        long_description=(HERE / "README.md").read_text(encoding="utf-8"),
        long_description_content_type="text/markdown",
        license="MIT",
        # Tornado 6.6, whose check of cross-origin requests the pages rely on, asks for 3.11
        python_requires=">=3.11",
        # static is no package of Python, but listed here its files are installed beside app
        packages=[*find_packages(include=["app", "app.*", "handlers", "handlers.*"]), "static"],
        package_data={
            "app.transport.socketio": ["*.pyi"],
            "handlers": ["templates/*"],
            "static": ["*", "*/*"],
        },
        include_package_data=False,
        # without a compiler plain.py does the same, only slower
        ext_modules=[
            Extension(
                "app.transport.socketio._plain", ["app/transport/socketio/_plain.c"], optional=True
            )
        ],
        install_requires=[
            "tornado>=6.6",
            "python-engineio>=4.15.1,<5",
            "python-socketio>=5.18,<6",
            "itsdangerous>=2.1",
            "msgspec>=0.19",
            "argon2-cffi>=23.1",
            "SQLAlchemy>=2.0.31",
            "prometheus-client>=0.20",
            "ua-parser>=1.0",
            "confusable-homoglyphs>=3.3.1",
            # a loop that needs half the CPU; without it asyncio's own does the same
            "uvloop>=0.21; sys_platform != 'win32' and implementation_name == 'cpython'",
        ],
        extras_require={
            "redis": REDIS,
            "postgresql": POSTGRESQL,
            "bench": BENCH,
            "dev": [
                *REDIS,
                *POSTGRESQL,
                *BENCH,
                "aiohttp>=3.10",
                "httptools>=0.6",  # what tests compare our own parser of requests with
                "hypothesis>=6.100",
                "mypy>=1.15",
                "playwright>=1.49",
                "pytest>=8.3",
                "ruff>=0.9",
                "setuptools>=77",
                "tox>=4.23",
            ],
        },
        cmdclass={
            "build_py": with_client(build_py),
            "develop": with_client(develop),
            "editable_wheel": with_client(editable_wheel),
            "sdist": with_client(sdist),
        },
    )
