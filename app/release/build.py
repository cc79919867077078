"""Make a new release complete: its packages, the browser's client, its compiled code."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path

from app.release.commands import clean_environ, run
from app.release.errors import Stopped
from app.release.options import Options

BUILD_LOCK = "requirements-build.lock"
_PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
_CLIENT = Path("static", "vendor")
_HAS_CLIENT = (
    "import sys; from pathlib import Path; from app import socketio_client as client; "
    "sys.exit(not client.is_client(Path('static', client.LOCAL).read_bytes()))"
)
_FETCH_CLIENT = "import build_backend; build_backend.fetch_client(build_backend.STATIC)"


def install_packages(folder: Path, options: Options) -> str:
    """Make .venv in a release, with the locked packages only; return words about it.

    Raises Stopped.
    """
    if options.packages:
        run(shlex.split(options.packages), "the packages", cwd=folder)
        if not python(folder).exists():
            raise Stopped(f"{options.packages} made no {python(folder)}")
        return options.packages
    lock = options.lock
    if not (folder / lock).is_file():
        raise Stopped(
            f"the release has no {lock}; make it by tox run -e lock and commit it, or name a "
            "command that installs the packages by --packages"
        )
    run([options.python, "-m", "venv", ".venv"], "a new .venv", cwd=folder)
    install = [str(python(folder)), *_PIP, "--require-hashes", "-r", lock]
    run(install, f"the packages of {lock}", cwd=folder)
    return f"those of {lock}, with their hashes"


def compile_code(folder: Path) -> None:
    """Compile the modules, since a process may not write into the release; raises Stopped."""
    names = [name for name in ("app", "handlers") if (folder / name).is_dir()]
    run([str(python(folder)), "-m", "compileall", "-q", *names], "the code", cwd=folder)


def add_client(folder: Path, before: Path | None) -> str:
    """Put the browser's client into static/, from the release before or by npm; return words.

    A release without it works: its pages load the client from its CDN.
    """
    if before is not None and not (folder / _CLIENT).exists() and (before / _CLIENT).is_dir():
        shutil.copytree(before / _CLIENT, folder / _CLIENT)
        if _has_client(folder):
            return "that of the release before"
        shutil.rmtree(folder / _CLIENT)
    if _has_client(folder):
        return "in the release"
    try:
        _fetch_client(folder)
    except Stopped as stopped:
        return f"none, so pages load it from its CDN; {stopped}"
    return "fetched" if _has_client(folder) else "none, so pages load it from its CDN"


def python(folder: Path) -> Path:
    """Return the Python of a release."""
    return folder / ".venv" / "bin" / "python"


def _has_client(folder: Path) -> bool:
    try:
        run([str(python(folder)), "-c", _HAS_CLIENT], "the client", cwd=folder)
    except Stopped:
        return False
    return True


def _fetch_client(folder: Path) -> None:
    """Run the build's own code for it, with the locked packages of the build."""
    if not (folder / BUILD_LOCK).is_file():
        raise Stopped(f"the release has no {BUILD_LOCK}")
    with tempfile.TemporaryDirectory(prefix="latchkey-build-") as tools:
        install = [str(python(folder)), *_PIP, "--require-hashes", "-r", BUILD_LOCK]
        run([*install, "--target", tools], f"the packages of {BUILD_LOCK}", cwd=folder)
        environ = clean_environ()
        environ |= {
            "PYTHONPATH": tools,
            "PATH": f"{tools}/bin{os.pathsep}{environ.get('PATH', os.defpath)}",
        }
        run([str(python(folder)), "-c", _FETCH_CLIENT], "npm", cwd=folder, environ=environ)
