"""The key that is kept in the data folder."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.ops.keys import check_last_key, fingerprint, signing_keys
from app.settings import Settings

OLD, NEW = "old-key-" + "o" * 32, "new-key-" + "n" * 32


@pytest.mark.express("A3")
def test_the_key_is_made_once_with_mode_0600(tmp_path: Path) -> None:
    """The next start uses the same key; another folder has another one."""
    settings = Settings(data_dir=tmp_path)
    keys = signing_keys(settings)
    assert signing_keys(settings) == keys
    assert len(keys[0]) >= 43
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    (tmp_path / "other").mkdir()
    assert signing_keys(Settings(data_dir=tmp_path / "other")) != keys


@pytest.mark.express("K3")
def test_configured_keys_make_no_key_file(tmp_path: Path) -> None:
    """--secret-keys is enough."""
    assert signing_keys(Settings(data_dir=tmp_path, secret_keys=(OLD, NEW))) == (OLD, NEW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damaged", [b"short\n", b"\xa5" * 40, b""])
def test_a_damaged_key_file_is_refused(tmp_path: Path, damaged: bytes) -> None:
    """A new key would end all sessions, so the start fails with a sentence."""
    (tmp_path / "secret_key").write_bytes(damaged)
    with pytest.raises(ValueError, match="holds no signing key; restore it, or delete it"):
        signing_keys(Settings(data_dir=tmp_path))


def test_a_damaged_note_of_the_last_key_stops_no_start(tmp_path: Path) -> None:
    """It only serves a warning, and is written anew."""
    keys = (OLD,)
    (tmp_path / "secret_key.used").write_bytes(b"\xa5" * 16)
    check_last_key(Settings(data_dir=tmp_path), keys)
    assert (tmp_path / "secret_key.used").read_text().strip() == fingerprint(OLD)
