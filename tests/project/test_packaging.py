"""The package: its command line, the browser's client that the build fetches, the wheel."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.metadata
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

import build_backend
from app import __version__
from app import socketio_client as assets
from app.settings import PREFIX, Settings
from tests.support.files import sources
from tests.support.paths import ROOT
from tests.support.requirements import skip

FETCHED = f"static/{assets.LOCAL}"


# -- the command line --


@pytest.fixture(scope="module")
def help_text() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "app", "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_help_lists_every_setting_with_its_default(
    help_text: str, field: dataclasses.Field[Any]
) -> None:
    """Each setting has a line with its flag, its meaning and its default."""
    flag = "--" + field.name.replace("_", "-")
    (line,) = re.findall(rf"^  {flag} \S.*(?:\n {{10,}}.*)*", help_text, re.MULTILINE)
    assert field.metadata["meaning"] in line
    assert f"(default: {field.metadata['default'] or 'none'})" in line


@pytest.mark.parametrize(
    "field",
    [field for field in dataclasses.fields(Settings) if field.type in ("int", "float")],
    ids=lambda field: field.name,
)
def test_help_gives_every_number_a_unit(field: dataclasses.Field[Any]) -> None:
    """A number's meaning begins with what is counted."""
    units = (
        "seconds|days|bytes|characters|number|TCP port|connections|events|handshakes|failed logins"
        "|sessions"
    )
    assert re.match(f"(octal )?({units})", field.metadata["meaning"])


def test_version_prints_the_version_and_what_it_runs_on() -> None:
    """One line names the program; the next ones help in a bug report."""
    done = subprocess.run(
        [sys.executable, "-m", "app", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, python, *packages = done.stdout.splitlines()
    assert first == f"latchkey {__version__}"
    assert python.startswith(f"Python {platform.python_version()}")
    assert f"tornado {importlib.metadata.version('tornado')}" in packages
    assert done.stderr == ""


def test_help_tells_of_the_environment(help_text: str) -> None:
    """Flags and variables are the same settings."""
    assert f"{PREFIX}PORT" in help_text


# -- the browser's client --


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Bytes that pass for the client in this test."""
    content = b"client()"
    digest = base64.b64encode(hashlib.sha384(content).digest()).decode()
    for module in (assets, build_backend.assets):
        monkeypatch.setattr(module, "INTEGRITY", f"sha384-{digest}")
    return content


def put(static: Path, content: bytes) -> None:
    (static / assets.LOCAL).parent.mkdir(parents=True)
    (static / assets.LOCAL).write_bytes(content)


def test_the_client_is_served_from_here_when_it_is_here(tmp_path: Path, pinned: bytes) -> None:
    """Nothing but 'self' has to be allowed then."""
    put(tmp_path, pinned)
    script = assets.client_script(tmp_path)
    assert script.url.startswith("/static/vendor/socket.io.min.js?")
    assert script.integrity is None
    assert script.sources == ()


@pytest.mark.asvs("3.6.1")
@pytest.mark.attack("A23")
def test_without_the_file_pages_load_it_from_the_cdn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With its hash, and with a policy that allows just that file; the log tells how to mend it."""
    caplog.set_level("INFO")
    script = assets.client_script(tmp_path)
    assert script.url == f"https://cdn.socket.io/{assets.VERSION}/socket.io.min.js"
    assert script.integrity == assets.INTEGRITY
    assert script.sources == (script.url,)
    assert "run pip install -v -e . to see why the build did not fetch it" in caplog.text


@pytest.mark.asvs("3.6.1")
def test_a_tampered_file_is_not_served(
    tmp_path: Path, pinned: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """One byte more, and pages take the CDN's; the log says what to do."""
    put(tmp_path, pinned + b" ")
    assert assets.client_script(tmp_path).url == assets.CDN
    assert "delete the file" in caplog.text


def fake_npm(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an npm first on PATH that packs this content as the client, and notes that it ran."""
    folder.mkdir()
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        member = tarfile.TarInfo(f"package/{assets.FILE}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    (folder / "package.tgz").write_bytes(package.getvalue())
    (folder / "npm").write_text(
        f'#!/bin/sh\necho "$@" >> "{folder}/ran"\ncp "{folder}/package.tgz" client.tgz\n'
    )
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "ran"


def test_the_build_puts_the_client_into_static(
    tmp_path: Path, pinned: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks npm for the pinned release, once, and does not ask again for what is there."""
    ran = fake_npm(tmp_path / "bin", pinned, monkeypatch)
    build_backend.fetch_client(tmp_path / "static")
    assert (tmp_path / "static" / assets.LOCAL).read_bytes() == pinned
    build_backend.fetch_client(tmp_path / "static")
    (line,) = ran.read_text().splitlines()
    assert line.endswith(f" {assets.PACKAGE}@{assets.VERSION}")


def test_the_build_replaces_a_damaged_client(
    tmp_path: Path, pinned: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of another release, or half of one, does not stay."""
    put(tmp_path / "static", pinned[:3])
    fake_npm(tmp_path / "bin", pinned, monkeypatch)
    build_backend.fetch_client(tmp_path / "static")
    assert (tmp_path / "static" / assets.LOCAL).read_bytes() == pinned


def test_the_build_refuses_what_has_another_hash(
    tmp_path: Path,
    pinned: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing of it is stored; the build warns in one line and goes on."""
    fake_npm(tmp_path / "bin", pinned + b" ", monkeypatch)
    build_backend.fetch_client(tmp_path / "static")
    assert not (tmp_path / "static" / assets.LOCAL).exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not have the hash in app/socketio_client.py" in line


@pytest.mark.parametrize(
    ("npm", "why"), [(None, "npm is not installed"), ("exit 1", "npm could not fetch it")]
)
def test_the_build_goes_on_without_npm(
    tmp_path: Path,
    npm: str | None,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whether npm is missing or fails, there is one warning that names the CDN."""
    if npm is not None:
        (tmp_path / "npm").write_text(f"#!/bin/sh\n{npm}\n")
        (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    build_backend.fetch_client(tmp_path / "static")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ")
    assert "load it from its CDN" in line
    assert why in line


def test_the_build_says_in_one_line_what_it_did(
    tmp_path: Path,
    pinned: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It fetched the client, or found it."""
    fake_npm(tmp_path / "bin", pinned, monkeypatch)
    build_backend.fetch_client(tmp_path / "static")
    (line,) = capsys.readouterr().out.splitlines()
    assert "was fetched by npm into" in line
    build_backend.fetch_client(tmp_path / "static")
    (line,) = capsys.readouterr().out.splitlines()
    assert "is already in" in line


HOOKS = [
    build_backend.get_requires_for_build_wheel,
    build_backend.get_requires_for_build_editable,
    build_backend.get_requires_for_build_sdist,
]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_the_build_asks_for_npm_only_where_it_is_missing(
    hook: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where npm is installed nor where the client has been fetched before."""
    for name in ("wheel", "editable", "sdist"):  # those of setuptools run setup.py
        of_setuptools = f"setuptools.build_meta.get_requires_for_build_{name}"
        monkeypatch.setattr(of_setuptools, lambda _: ["other"])
    monkeypatch.setattr(build_backend, "STATIC", tmp_path / "static")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hook() == ["other", build_backend.NODE]
    fake_npm(tmp_path / "bin", b"", monkeypatch)
    assert hook() == ["other"]


def test_a_build_that_has_the_client_asks_for_nothing(
    tmp_path: Path, pinned: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installing once more downloads no Node.js."""
    monkeypatch.setenv("PATH", str(tmp_path))
    put(tmp_path, pinned)
    assert build_backend.node_requirement(tmp_path) == []


@pytest.mark.parametrize("machine", ["armv7l", "riscv64", "ppc64le"])
def test_no_machine_has_to_compile_node(
    tmp_path: Path, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the package has no wheel, the build goes on without the client."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert build_backend.node_requirement(tmp_path) == []


# -- the wheel --


def can_build() -> bool:
    """Whether this Python has what builds a wheel without fetching anything."""
    # asked of the metadata, since to look for these modules is to change what distutils is
    versions = {each.name: each.version for each in importlib.metadata.distributions()}
    if not {"pip", "setuptools"} <= versions.keys():
        return False
    return "wheel" in versions or Version(versions["setuptools"]) >= Version("70.1")


NESTED = (
    "handlers/shop/__init__.py",
    "handlers/shop/orders.py",
    "handlers/shop/templates/shop/mail/receipt.txt",
    "handlers/shop/templates/shop/[id].html",
    "handlers/shop/migrations/0001_orders.py",
    "handlers/shop_migrations/0001_first.py",
    "handlers/templates/deep/er/page.html",
    "static/.well-known/security.txt",
    "static/img/icons/dark/a b.svg",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built from a copy of the repository, without a client in it yet."""
    if not can_build():
        skip("a wheel needs pip and setuptools 70.1: pip install -e '.[dev]'")
    if shutil.which("npm") is None:
        skip("the build fetches the browser's client by npm: pip install -e '.[dev]'")
    folder = tmp_path_factory.mktemp("wheel")
    for path in sources():
        target = folder / "tree" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name in NESTED:
        target = folder / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"# {name}")
    (folder / "tree" / "handlers" / "__pycache__").mkdir()
    (folder / "tree" / "handlers" / "__pycache__" / "left.pyc").write_text("")
    done = subprocess.run(
        f"{sys.executable} -m pip wheel . --no-deps --no-build-isolation -w {folder}".split(),
        cwd=folder / "tree",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.limit(300)
def test_the_wheel_holds_what_pages_need(wheel: Path) -> None:
    """Every module, template, migration and static file is in it, and nothing of the tests.

    In folders at any depth, as a fork has them.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if path.relative_to(ROOT).parts[0] in ("app", "handlers", "static") and path.suffix != ".c"
    }
    assert wanted <= names
    assert set(NESTED) <= names
    assert not [name for name in names if "__pycache__" in name]
    assert any(name.startswith("handlers/templates/") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "app",
        "handlers",
        "static",
        "latchkey",
        "latchkey_pytest.py",
    }


def test_a_source_distribution_holds_them_too(wheel: Path) -> None:
    """A wheel that is built from it is the same."""
    tree = wheel.parent / "tree"
    done = subprocess.run(
        [sys.executable, "-c", "import build_backend; print(build_backend.build_sdist('..'))"],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(NESTED) <= names
    assert "app/cluster/lua/lead.lua" in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_holds_the_client(wheel: Path) -> None:
    """The build fetched it from npm, and its bytes are those that were pinned."""
    with zipfile.ZipFile(wheel) as archive:
        if FETCHED not in archive.namelist():
            skip(f"npm could not fetch {assets.PACKAGE}; see that npm view {assets.PACKAGE} works")
        assert assets.is_client(archive.read(FETCHED))


def test_the_wheel_has_the_plugin_of_pytest(wheel: Path) -> None:
    """Under a name of its own, since other projects have an `app` too."""
    with zipfile.ZipFile(wheel) as archive:
        (points,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        assert "[pytest11]\nlatchkey_pytest = latchkey_pytest" in archive.read(points).decode()
        assert {"latchkey_pytest.py", "app/testing/__init__.py"} <= {*archive.namelist()}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    """Name, version, the Python and the packages that it needs."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"latchkey-{__version__}.dist-info/METADATA").decode()
    assert f"\nName: latchkey\nVersion: {__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    for package in ("tornado", "python-engineio", "python-socketio", "sqlalchemy"):
        assert re.search(rf"(?im)^Requires-Dist: {package}[<>=]", metadata)


def test_an_unpacked_wheel_runs_anywhere(wheel: Path, tmp_path: Path) -> None:
    """Away from the repository, `make_app` finds the wheel's own templates and static files."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from app.program import ROOT; print(ROOT)\n"
            "print(sorted(path.name for path in ROOT.glob('*/templates/*.html')))\n"
            "from app.__main__ import main; main()",
            "--help",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    where, templates, *rest = done.stdout.splitlines()
    assert Path(where) == (tmp_path / "site").resolve()
    assert "login.html" in templates
    assert rest[0].startswith("usage: python -m app")
