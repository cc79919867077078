"""Templates from several folders: the first one that has a template gives it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tornado.template import BaseLoader, Template


class TemplateFolders(BaseLoader):
    """Loads each template from the first folder that has it, and keeps it."""

    def __init__(self, paths: str, **options: Any) -> None:
        """`paths` are folders, separated as in PATH; the rest is as for Tornado's Loader."""
        super().__init__(**options)
        self._folders = [Path(path) for path in paths.split(os.pathsep)]
        self._loaded: dict[str, Template] = {}

    @classmethod
    def of(cls, folders: Sequence[Path]) -> TemplateFolders:
        """Return the loader for these folders."""
        return cls(os.pathsep.join(map(str, folders)))

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        """Return the name of a template that another one names.

        It is relative to the folder of that one, or if that has none, to the folders of all, so
        that `{% extends "base.html" %}` works at any depth, in another base.html too.
        """
        if not parent_path or parent_path.startswith(("<", "/")) or name.startswith("/"):
            return name
        near = posixpath.normpath(posixpath.join(posixpath.dirname(parent_path), name))
        found = near != parent_path and self._path(near)
        return near if found or not self._path(name) else name

    def load(self, name: str, parent_path: str | None = None) -> Template:
        """Return a template; raises FileNotFoundError if no folder has it."""
        name = self.resolve_path(name, parent_path)
        with self.lock:
            if name not in self._loaded:
                self._loaded[name] = Template(self._find(name).read_bytes(), name, loader=self)
            return self._loaded[name]

    def reset(self) -> None:
        """Forget all templates."""
        with self.lock:
            self._loaded.clear()

    def _path(self, name: str) -> Path | None:
        paths = (folder / name for folder in self._folders)
        return next((path for path in paths if path.is_file()), None)

    def _find(self, name: str) -> Path:
        if (path := self._path(name)) is not None:
            return path
        folders = ", ".join(map(str, self._folders))
        raise FileNotFoundError(f"there is no template {name} in {folders}")
