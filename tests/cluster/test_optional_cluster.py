"""The package redis is needed for --store redis only."""

from __future__ import annotations

from pathlib import Path

from tests.support.process import run


async def test_a_missing_package_is_reported(tmp_path: Path) -> None:
    """The process ends with a sentence that has the command which installs it."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "hiredis.py").write_text("raise ModuleNotFoundError(name='hiredis')\n")
    flags = (f"--data-dir={tmp_path / 'data'}", "--store=redis://127.0.0.1", "--port=0")
    code, _, errors = await run(*flags, PYTHONPATH=str(hidden), LATCHKEY_SECRET_KEYS="k" * 32)
    assert code == 1
    assert "--store redis needs the package hiredis; run pip install -e '.[redis]'" in errors
    assert "Traceback" not in errors
