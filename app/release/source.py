"""The code of a new release: a commit of a git repository, or a copy of a folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from app.release.commands import run
from app.release.errors import Stopped, WrongCall

_NOT_COPIED = (
    *(".git", ".venv", ".tox", "__pycache__", "*.egg-info", ".*_cache", "node_modules", "data"),
    *("build", "dist"),
)


class Source:
    """Where code comes from."""

    def __init__(self, path: Path, revision: str) -> None:
        """`revision` is a tag, a branch or a commit; empty: what is checked out.

        Raises WrongCall or Stopped.
        """
        self._path = path
        if not path.is_dir():
            raise WrongCall(
                f"there is no folder {path}; clone your repository there, or name it by --source"
            )
        self._is_git = (path / ".git").exists() or (path / "HEAD").is_file()
        if revision and not self._is_git:
            raise WrongCall(f"{path} is no git repository, so it has no {revision}")
        self._revision = revision or "HEAD"
        self.commit = self._find_commit() if self._is_git else ""

    @property
    def label(self) -> str:
        """A short name for the name of the release."""
        return self.commit[:10] or "folder"

    def about(self) -> dict[str, Any]:
        """Return what a release remembers of its source."""
        return {"source": str(self._path), "revision": self._revision, "commit": self.commit}

    def copy_to(self, folder: Path) -> None:
        """Put the code into an empty folder; raises Stopped."""
        if not self._is_git:
            ignore = shutil.ignore_patterns(*_NOT_COPIED)
            shutil.copytree(self._path, folder, ignore=ignore, symlinks=True, dirs_exist_ok=True)
            _let_read(folder)
            return
        packed = folder / ".code.tar"
        run(["git", "archive", f"--output={packed}", self.commit], "git archive", cwd=self._path)
        run(["tar", "-xf", str(packed)], "tar", cwd=folder)
        packed.unlink()

    def _find_commit(self) -> str:
        """Return the commit; a branch of the remote wins over a local one of its name."""
        for name in (f"refs/tags/{self._revision}", f"origin/{self._revision}", self._revision):
            if self._revision == "HEAD" and name != "HEAD":
                continue
            command = ["git", "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"]
            try:
                return run(command, "git", cwd=self._path).strip()
            except Stopped as stopped:
                problem = str(stopped)
                if "exit code" not in problem:
                    raise
        raise WrongCall(
            f"{self._path} has no commit {self._revision}; fetch it there first (git fetch --tags)"
        )


def _let_read(folder: Path) -> None:
    """Let the user of the processes read a copy of files that only their owner may read."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
