"""A change from one release to another: the database, the link, one process after the other."""

from __future__ import annotations

from app.release.errors import Interrupted, Stopped, StoppedHalfway
from app.release.journal import Journal
from app.release.options import Options
from app.release.output import Output
from app.release.processes import Processes
from app.release.program import Program
from app.release.releases import Releases

_MIN_READY_TIMEOUT = 60.0  # seconds that a process of the old release has at least


class Change:
    """Goes to a release, and back if a step fails; old processes serve meanwhile.

    Each step may be repeated, so a change that was killed can go on, and can be taken back.
    """

    def __init__(
        self,
        journal: Journal,
        releases: Releases,
        options: Options,
        processes: list[str],
        output: Output,
        *,
        restart: bool = True,
    ) -> None:
        """`processes` are numbers; without `restart` none of them is restarted."""
        self._restarts = processes if restart else []
        self._journal = journal
        self._releases = releases
        self._options = options
        self._processes = processes
        self._running = Processes(options)
        self._output = output

    def check(self) -> None:
        """See whether the processes could start in the new release; raises Stopped."""
        numbers = self._processes or ["0"]
        for number in numbers:
            self._program(self._journal.to).check(number)
        self._output.step("check", f"ok for {_words(numbers)}")

    def run(self) -> None:
        """Go to the new release, or back to the old one; raises Stopped in that case.

        Raises StoppedHalfway if the way back fails too.
        """
        try:
            if self._journal.kind == "upgrade":
                self._migrate()
            else:
                self._downgrade()
            self._switch()
            for number in self._restarts:
                if number not in self._journal.done:
                    self._restart(number)
        except (Stopped, Interrupted, OSError) as error:
            self._output.step("stopped", str(error))
            self.undo()
            raise Stopped(f"{self._journal.before or 'nothing'} serves as before") from None
        self._finish()

    def undo(self) -> None:
        """Go back to the old release; raises StoppedHalfway."""
        journal = self._journal
        if journal.before is None:
            self._undo_first()
            return
        try:
            self._releases.switch(journal.before)
            self._restore_database()
            for number in list(journal.begun):
                seconds = self._running.restart(number, min_timeout=_MIN_READY_TIMEOUT)
                self._output.step("undo", f"process {number}: ready after {seconds:.1f} s")
                journal.begun.remove(number)
                journal.done = [each for each in journal.done if each != number]
                journal.store(self._releases.root)
        except (Stopped, Interrupted, OSError) as error:
            self._output.step("undo", str(error))
            raise StoppedHalfway(journal.to) from None
        Journal.remove(self._releases.root)
        self._output.step("undo", f"{journal.before} is the release again")

    def _undo_first(self) -> None:
        """Forget the first release of a site, unless processes run it; raises StoppedHalfway."""
        if self._journal.begun:
            self._output.step("undo", "there is no release before; correct this one, then resume")
            raise StoppedHalfway(self._journal.to)
        self._releases.unlink_current()
        Journal.remove(self._releases.root)

    def _migrate(self) -> None:
        """Bring the tables to the state that the new release needs, and note how they were."""
        journal, number = self._journal, self._number
        program = self._program(journal.to)
        # the first release finds no database, perhaps
        before = _plain(program.revisions(number)) if journal.before is not None else {}
        if not journal.revisions:
            journal.revisions = before
        journal.store(self._releases.root)
        program.migrate(number)
        after = _plain(program.revisions(number))
        changed = [name for name in after if after[name] != before.get(name)]
        words = [f"{name} {before.get(name) or 'new'} to {after[name]}" for name in changed]
        self._output.step("database", ", ".join(words) or "nothing to migrate")

    def _downgrade(self) -> None:
        """Take back the migrations that the older release does not know, and see that it fits."""
        journal, number = self._journal, self._number
        journal.store(self._releases.root)
        if journal.before is not None and journal.downgrades:
            newer = self._program(journal.before)
            states = newer.revisions(number)
            for name, revision in journal.downgrades.items():
                if states[name]["revision"] != revision:
                    newer.downgrade(number, name, revision)
                self._output.step("database", f"{name} is at {revision} again")
        self.check()

    def _restore_database(self) -> None:
        """Take back what this change did to tables that the old release knows."""
        journal, number = self._journal, self._number
        if journal.kind != "upgrade":
            assert journal.before is not None
            self._program(journal.before).migrate(number)
            return
        program = self._program(journal.to)
        after = _plain(program.revisions(number)) if journal.revisions else {}
        for name, revision in journal.revisions.items():
            if revision is not None and after.get(name) != revision:
                program.downgrade(number, name, revision)
                self._output.step("undo", f"{name} is at {revision} again")

    def _switch(self) -> None:
        self._releases.switch(self._journal.to)
        self._output.step("current", self._journal.to)

    def _restart(self, number: str) -> None:
        journal = self._journal
        if number not in journal.begun:
            journal.begun.append(number)
            journal.store(self._releases.root)
        seconds = self._running.restart(number)
        self._output.step("restart", f"process {number}: ready after {seconds:.1f} s")
        journal.done.append(number)
        journal.store(self._releases.root)

    def _finish(self) -> None:
        journal = self._journal
        if journal.before is not None and journal.before != journal.to:
            self._releases.note_previous(journal.before)
        Journal.remove(self._releases.root)

    @property
    def _number(self) -> str:
        """The process whose settings name the database."""
        return self._processes[0] if self._processes else "0"

    def _program(self, name: str) -> Program:
        return Program(self._releases.path(name), self._options)


def _plain(found: dict[str, dict[str, str | None]]) -> dict[str, str | None]:
    return {name: each["revision"] for name, each in found.items()}


def _words(numbers: list[str]) -> str:
    return f"process {numbers[0]}" if len(numbers) == 1 else f"processes {', '.join(numbers)}"
