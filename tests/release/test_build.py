"""What a new release is made of: locked packages, and the browser's client."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.fake_site import FakeSite

WHEEL = "tiny-1.0-py3-none-any.whl"
FILES = {
    "tiny.py": "VALUE = 1\n",
    "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.0.dist-info/RECORD": "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\n"
    "tiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n",
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[FakeSite]:
    """A site whose releases are built, and not started."""
    made = FakeSite(tmp_path)
    yield made
    made.stop()


@pytest.mark.limit(180)
async def test_only_packages_with_the_locked_hash_are_installed(
    site: FakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By pip, into a .venv of the release."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / WHEEL, "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, text)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    site.change(packages="")
    found = hashlib.sha256((wheels / WHEEL).read_bytes()).hexdigest()
    code, text = await site.run("upgrade", "--dry-run")
    assert code == 1
    assert "the release has no requirements.lock" in text
    for line, wanted in (("tiny==1.0", 1), (f"tiny==1.0 --hash=sha256:{found}", 0)):
        site.release(f"tiny-{wanted}", {"requirements.lock": line + "\n"})
        code, text = await site.run("upgrade", "--no-restart")
        assert code == wanted, text
        assert ("Hashes are required" in text) == bool(wanted), text
    (module,) = (site.root / "current" / ".venv").glob("lib/python*/site-packages/tiny.py")
    assert module.read_text() == "VALUE = 1\n"


async def test_the_client_comes_from_the_release_before(site: FakeSite) -> None:
    """The repository has none, because a build fetches it; a damaged one is not taken over."""
    client = Path("static", "vendor", "client.js")
    assert (await site.run("upgrade", "--no-restart"))[0] == 0
    shutil.rmtree(site.source / "static")
    site.release("v2")
    code, text = await site.run("upgrade", "--no-restart")
    assert code == 0
    assert "that of the release before" in text
    assert (site.root / "current" / client).read_text() == "client"
    (site.root / "current" / client).write_text("damaged")
    code, text = await site.run("upgrade", "--no-restart")
    assert code == 0
    assert "none, so pages load it from its CDN; the release has no requirements-build.lock" in text
    assert not (site.root / "current" / client).exists()
