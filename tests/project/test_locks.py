"""The locked dependencies fit setup.py and pyproject.toml."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import build_backend
from tests.support.paths import ROOT

RENEW = "renew it by: tox run -e lock"


class Lock:
    """A lock file: the version of each package, and those that the project itself names."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text()
        self.versions: dict[str, str] = {}
        self.direct: set[str] = set()
        self.unhashed: list[str] = []
        for block in re.split(r"(?m)^(?=[a-z0-9])", self.text)[1:]:
            head, *rest = block.splitlines()
            name, version = re.findall(r"^([a-z0-9-]+)==([^\s;]+)", head)[0]
            self.versions[name] = version
            if not any("--hash=sha256:" in line for line in rest):
                self.unhashed.append(name)
            if re.search(r"# .*(setup\.py|pyproject\.toml)", block):
                self.direct.add(name)


def declared(monkeypatch: pytest.MonkeyPatch, *more: str) -> list[str]:
    """Return the requirements of setup.py with the extras that a site may need, and `more`."""
    found: dict[str, object] = {}
    monkeypatch.setattr(setuptools, "setup", found.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py", run_name="__main__")
    required, extras = found["install_requires"], found["extras_require"]
    assert isinstance(required, list)
    assert isinstance(extras, Mapping)
    return [*required, *(each for name in ("redis", "postgresql", *more) for each in extras[name])]


def compare(lock: Lock, requirements: Iterable[str]) -> None:
    """Fail if a requirement is not pinned, is pinned to another release, or is one no more."""
    asked = {canonicalize_name(each.name): each for each in map(Requirement, requirements)}
    assert lock.direct >= asked.keys(), f"not in the lock; {RENEW}"
    assert asked.keys() >= lock.direct, f"the project does not ask for it any more; {RENEW}"
    for name, requirement in asked.items():
        assert lock.versions[name] in requirement.specifier, f"{requirement}: {RENEW}"


def test_requirements_lock_fits_setup_py(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each requirement is pinned to a release that setup.py allows, and no other is."""
    compare(Lock(ROOT / "requirements.lock"), declared(monkeypatch))


def test_the_lock_with_tracing_adds_to_the_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site with traces runs with the same releases of everything else."""
    lock, with_tracing = Lock(ROOT / "requirements.lock"), Lock(ROOT / "requirements-tracing.lock")
    compare(with_tracing, declared(monkeypatch, "tracing"))
    assert lock.versions.items() <= with_tracing.versions.items(), RENEW


def test_requirements_build_lock_fits_the_build() -> None:
    """The group of pyproject.toml has what pip would install for a build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    group = project["dependency-groups"]["build"]
    assert {*group} == {*project["build-system"]["requires"], build_backend.NODE}
    compare(Lock(ROOT / "requirements-build.lock"), group)


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-tracing.lock", "requirements-build.lock"]
)
def test_every_locked_package_has_hashes_and_no_address(name: str) -> None:
    """pip checks what it downloads, from whichever index the machine uses."""
    lock = Lock(ROOT / name)
    assert lock.unhashed == []
    assert "://" not in lock.text
    assert "--index" not in lock.text
