"""nginx on a loopback port, with the locations of a file of deploy/ in one plain server."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support import leftovers
from tests.support.paths import ROOT
from tests.support.ports import free_port, wait_until_open
from tests.support.requirements import find_program


@contextlib.contextmanager
def plain_nginx(locations: str, upstream: str) -> Iterator[str]:
    """Run nginx with `deploy/LOCATIONS`, whose process is `upstream`; give its URL."""
    text = (ROOT / "deploy" / locations).read_text(encoding="utf-8")
    # nginx's worker may be another user, who cannot read pytest's folder
    folder = Path(tempfile.mkdtemp(prefix="latchkey-nginx-"))
    folder.chmod(0o755)
    port = free_port()
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{what}_temp_path {folder}/{what};" for what in places)
    (folder / "locations.conf").write_text(text.replace("http://127.0.0.1:8888", upstream))
    (folder / "nginx.conf").write_text(
        f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
        events {{ worker_connections 512; }}
        http {{
            access_log off; {temporary}
            server {{ listen 127.0.0.1:{port}; include {folder}/locations.conf; }}
        }}"""
    )
    program: list[str | Path] = [find_program("nginx"), "-c", folder / "nginx.conf"]
    process = subprocess.Popen(
        [*program, "-e", folder / "error.log"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    leftovers.watch(process)
    try:
        wait_until_open(port, process, folder / "error.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)
