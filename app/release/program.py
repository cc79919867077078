"""The commands of the program in a release: --check, and the migrations of its tables."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from app.release.build import python
from app.release.commands import clean_environ, read_env_file, run
from app.release.options import Options


class Program:
    """Runs the program of a release with the settings of the processes."""

    def __init__(self, folder: Path, options: Options) -> None:
        """Raises Stopped if the settings cannot be read."""
        self._folder = folder
        self._options = options
        settings = read_env_file(Path(options.env_file)) if options.env_file else {}
        self._environ = {**clean_environ(), **settings}

    def check(self, number: str) -> None:
        """See whether a process could start; raises Stopped with what --check found."""
        words = shlex.split(self._options.words(self._options.arguments, number))
        self._run("app", "--check", *words, what=f"--check of process {number} failed")

    def revisions(self, number: str) -> dict[str, Any]:
        """Return the revision of each module's tables in the database, and what is known of it.

        `revision` is None for tables that have none, and `newer` says whether only a newer release
        knows it. Raises Stopped.
        """
        text = self._database(number, "current", "--json", what="the database")
        found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
        return found

    def migrate(self, number: str) -> None:
        """Run all migrations; raises Stopped, and the database is as before then."""
        self._database(number, "upgrade", what="the migration failed")

    def downgrade(self, number: str, module: str, revision: str) -> None:
        """Run the migrations of a module backwards; raises Stopped."""
        what = f"{module} could not go back to {revision}"
        self._database(number, "downgrade", module, revision, what=what)

    def _database(self, number: str, *words: str, what: str) -> str:
        given = self._options.words(self._options.arguments, number)
        flags = re.findall(r"--(?:data-dir|database|config)=\S+", given)
        return self._run("app.database", *words, *flags, what=what)

    def _run(self, module: str, *words: str, what: str) -> str:
        command = [str(python(self._folder)), "-m", module, *words]
        return run(command, what, cwd=self._folder, environ=self._environ)
