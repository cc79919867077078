"""Make the secrets of compose.yml in its volumes, at the first start; leave them afterwards.

Redis, PostgreSQL, nginx and the processes each have a volume with what is theirs.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

PLACE = Path("/secrets")
_DAYS = "825"  # as long as browsers accept


def main(site: str) -> None:
    """Make what is missing; print what was made."""
    settings = PLACE / "latchkey" / "latchkey.toml"
    if not settings.exists():
        make_passwords(settings)
    if not (PLACE / "certificates" / "fullchain.pem").exists():
        make_certificate(site)


def make_passwords(settings: Path) -> None:
    """Make the passwords of the stores; the settings are written last."""
    redis, database = secrets.token_hex(24), secrets.token_hex(24)
    write(
        PLACE / "redis" / "redis.conf",
        f"requirepass {redis}\nmaxmemory-policy noeviction\nappendonly yes\nappendfsync everysec\n",
    )
    write(PLACE / "postgres" / "password", database)
    write(
        settings,
        f'store = "redis://:{redis}@redis:6379/0"\n'
        f'database = "postgresql://latchkey:{database}@postgres/latchkey"\n',
    )
    print("made passwords of Redis and PostgreSQL")


def write(path: Path, text: str) -> None:
    """Write a file at once, for the one container that has its volume."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o444)
    path.parent.chmod(0o755)
    new.rename(path)


def make_certificate(site: str) -> None:
    """Make a certificate that browsers warn of, until a real one takes its place."""
    folder = PLACE / "certificates"
    folder.chmod(0o755)
    subprocess.run(  # noqa: S603  (the name is the operator's own)
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-days", _DAYS, "-subj", f"/CN={site}"),
            *("-addext", f"subjectAltName=DNS:{site}", "-keyout", folder / "privkey.pem"),
            *("-out", folder / "fullchain.new"),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    (folder / "privkey.pem").chmod(0o444)
    (folder / "fullchain.new").rename(folder / "fullchain.pem")
    print(f"made a certificate of its own for {site}")


if __name__ == "__main__":
    os.umask(0o022)
    main(*sys.argv[1:])
