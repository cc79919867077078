"""What a newcomer gets: commands, the wheel, the browser's client, a README that is true."""

from __future__ import annotations

import base64
import dataclasses
import fnmatch
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.version import Version

from app import assets
from app.settings import PREFIX, Settings
from handlers.session import SessionData
from tests.support.kit import ROOT, Visitor, serve
from tests.support.needs import cannot

README = (ROOT / "README.md").read_text(encoding="utf-8")
FETCHED = f"static/{assets.LOCAL}"


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in this language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def ignored(path: Path) -> bool:
    """Whether .gitignore names this file, or a folder that it is in."""
    relative = path.relative_to(ROOT)
    for line in (ROOT / ".gitignore").read_text().splitlines():
        pattern = line.strip("/")
        if relative.is_relative_to(pattern) or any(
            fnmatch.fnmatch(part, pattern) for part in relative.parts
        ):
            return True
    return ".git" in relative.parts


def sources() -> Iterator[Path]:
    """Yield the files of the repository, without what builds and tests leave behind."""
    return (path for path in ROOT.rglob("*") if path.is_file() and not ignored(path))


@pytest.fixture(scope="module")
def setup_py() -> ModuleType:
    """The functions of setup.py, which packages nothing while it is only imported."""
    spec = importlib.util.spec_from_file_location("latchkey_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        # setuptools puts its own distutils in place, and says so where one was loaded before
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


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
    units = "seconds|bytes|number|TCP port|connections|events|handshakes|failed logins|sessions"
    assert re.match(units, field.metadata["meaning"])


def test_help_tells_of_the_environment(help_text: str) -> None:
    """Flags and variables are the same settings."""
    assert f"{PREFIX}PORT" in help_text


# -- the browser's client --


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Bytes that pass for the client in this test."""
    content = b"client()"
    digest = base64.b64encode(hashlib.sha384(content).digest()).decode()
    monkeypatch.setattr(assets, "INTEGRITY", f"sha384-{digest}")
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


def test_without_the_file_pages_load_it_from_the_cdn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With its hash, and with a policy that allows just that file; the log tells how to mend it."""
    caplog.set_level("INFO")
    script = assets.client_script(tmp_path)
    assert script.url == f"https://cdn.socket.io/{assets.VERSION}/socket.io.min.js"
    assert script.integrity == assets.INTEGRITY
    assert script.sources == (script.url,)
    assert "install npm and run pip install -e . again" in caplog.text


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
    tmp_path: Path, pinned: bytes, setup_py: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks npm for the pinned release, once, and does not ask again for what is there."""
    ran = fake_npm(tmp_path / "bin", pinned, monkeypatch)
    setup_py.fetch_client(tmp_path / "static")
    assert (tmp_path / "static" / assets.LOCAL).read_bytes() == pinned
    setup_py.fetch_client.cache_clear()
    setup_py.fetch_client(tmp_path / "static")
    (line,) = ran.read_text().splitlines()
    assert line.endswith(f" {assets.PACKAGE}@{assets.VERSION}")


def test_the_build_replaces_a_damaged_client(
    tmp_path: Path, pinned: bytes, setup_py: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of another release, or half of one, does not stay."""
    put(tmp_path / "static", pinned[:3])
    fake_npm(tmp_path / "bin", pinned, monkeypatch)
    setup_py.fetch_client(tmp_path / "static")
    assert (tmp_path / "static" / assets.LOCAL).read_bytes() == pinned


def test_the_build_refuses_what_has_another_hash(
    tmp_path: Path,
    pinned: bytes,
    setup_py: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing of it is stored; the build warns in one line and goes on."""
    fake_npm(tmp_path / "bin", pinned + b" ", monkeypatch)
    setup_py.fetch_client(tmp_path / "static")
    assert not (tmp_path / "static" / assets.LOCAL).exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not have the hash in app/assets.py" in line


@pytest.mark.parametrize(
    ("npm", "why"), [(None, "npm is not installed"), ("exit 1", "npm could not fetch it")]
)
def test_the_build_goes_on_without_npm(
    tmp_path: Path,
    npm: str | None,
    why: str,
    setup_py: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whether npm is missing or fails, there is one warning that names the CDN."""
    if npm is not None:
        (tmp_path / "npm").write_text(f"#!/bin/sh\n{npm}\n")
        (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    setup_py.fetch_client(tmp_path / "static")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ")
    assert "load it from its CDN" in line
    assert why in line


# -- the wheel --


def can_build() -> bool:
    """Whether this Python has what builds a wheel without fetching anything."""
    # asked of the metadata, since to look for these modules is to change what distutils is
    versions = {each.name: each.version for each in importlib.metadata.distributions()}
    if not {"pip", "setuptools"} <= versions.keys():
        return False
    return "wheel" in versions or Version(versions["setuptools"]) >= Version("70.1")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built from a copy of the repository, without a client in it yet."""
    if not can_build():
        cannot("a wheel needs pip and setuptools 70.1: pip install -e '.[dev]'")
    if shutil.which("npm") is None:
        cannot("the build fetches the browser's client by npm: apt-get install npm")
    folder = tmp_path_factory.mktemp("wheel")
    for path in sources():
        target = folder / "tree" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
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
    """Every module, template and static file is in it, and nothing of the tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if path.relative_to(ROOT).parts[0] in ("app", "handlers", "static") and path.suffix != ".c"
    }
    assert wanted <= names
    assert any(name.startswith("handlers/templates/") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "app",
        "handlers",
        "static",
        "latchkey",
    }


def test_the_wheel_holds_the_client(wheel: Path) -> None:
    """The build fetched it from npm, and its bytes are those that were pinned."""
    with zipfile.ZipFile(wheel) as archive:
        if FETCHED not in archive.namelist():
            cannot(
                f"npm could not fetch {assets.PACKAGE}; see that npm view {assets.PACKAGE} works"
            )
        assert assets.is_client(archive.read(FETCHED))


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    """Name, version, the Python and the packages that it needs."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read("latchkey-0.1.0.dist-info/METADATA").decode()
    assert "\nName: latchkey\nVersion: 0.1.0\n" in metadata
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
            "from app.application import ROOT; print(ROOT)\n"
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
    assert "counter.html" in templates
    assert rest[0].startswith("usage: python -m app")


# -- the README --


def test_the_readme_has_two_commands_to_copy() -> None:
    """One runs the main job and one runs all tests; each is one line."""
    run, test = (block for block in blocks("sh") if "apt-get" in block)
    assert run.count("\n") == test.count("\n") == 1
    assert run.endswith(".venv/bin/python -m app\n")
    for tool in ("-m pytest", "mypy", "ruff check", "ruff format --check"):
        assert f".venv/bin/{tool}" in test.replace(".venv/bin/python -m", ".venv/bin/-m")


def test_ci_runs_the_readmes_line() -> None:
    """What people copy is what is tested."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    line = [block for block in blocks("sh") if "apt-get" in block][1]
    assert script.read_text().endswith("\n" + line)


def test_the_readmes_links_lead_somewhere() -> None:
    """Every file that it links or shows is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_readmes_settings_are_settings() -> None:
    """Every flag in its table exists, and has the default that it says, where it is a word."""
    fields = {field.name: field.metadata["default"] for field in dataclasses.fields(Settings)}
    rows = re.findall(r"^\| (`--.*?) \| (.*?) \|", README, re.MULTILINE)
    assert rows
    for flags, default in rows:
        names = [flag.replace("-", "_") for flag in re.findall(r"`--([a-z-]+)`", flags)]
        known = [fields[name] for name in names]
        assert not all(known) or default.replace("`", "").split(", ") == known


class ChattySession(SessionData):
    """The stock session with the field that the README adds."""

    said: int = 0


async def test_the_readmes_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """handlers/chat.py, as printed: the page and the socket count one session's words."""
    (example,) = (block for block in blocks("python") if "ChatNamespace" in block)
    (tmp_path / "readme_example").mkdir()
    (tmp_path / "readme_example" / "chat.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    modules = ("counter", "sign_in", "account", "health", "readme_example.chat")
    assert f"modules = {modules}".replace("'", '"').replace("readme_example.", "") in README
    async with (
        serve(tmp_path, modules=modules, data_type=ChattySession) as site,
        Visitor(site.url) as visitor,
    ):
        assert (await visitor.get("/chat"))[0] == 302
        await visitor.sign_up("ada")
        socket = await visitor.socket(namespaces=("/chat",))
        assert await socket.call("say", "hello", namespace="/chat") == 1
        assert await visitor.post("/chat", json={"text": "again"}) == (200, "2")
        assert await visitor.get("/chat") == (200, "2")
        await socket.close()


# -- the repository --


def test_no_file_names_a_registry_or_this_machine() -> None:
    """Where packages come from is the machine's own setting; paths are of no use elsewhere."""
    needles = [
        ".".join(["registry", "npmjs"]),
        ".".join(["pypi", "org"]),
        ".".join(["pythonhosted", "org"]),
        ".".join(["deb", "debian"]),
        "/".join(["", "work", ""]),
        "/".join(["", "root", ""]),
    ]
    found = [
        f"{path.relative_to(ROOT)} has {needle}"
        for path in sources()
        for needle in needles
        if needle.encode() in path.read_bytes()
    ]
    assert not found
