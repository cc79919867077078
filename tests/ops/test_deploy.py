"""deploy/ and docs/deploy.md agree with the program, and the unit's command starts it."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from app.settings import PREFIX, Settings, parse_settings
from app.web.strict_transport import strict_transport
from tests.support.copies import link_program
from tests.support.paths import ROOT
from tests.support.ports import free_port

GUIDE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
PAGES = "".join(
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("deploy", "proxies", "keys", "container", "releases", "backups")
)
NGINX = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
HAPROXY = (ROOT / "deploy" / "haproxy.cfg").read_text(encoding="utf-8")
CADDY = (ROOT / "deploy" / "Caddyfile").read_text(encoding="utf-8")
UNIT = (ROOT / "deploy" / "latchkey@.service").read_text(encoding="utf-8")


def unit(name: str) -> str:
    """Return the value of one setting of the unit."""
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def test_the_guides_settings_exist() -> None:
    """The program knows every setting that it puts into /etc/latchkey.env."""
    (block,) = re.findall(r"cat >/etc/latchkey\.env <<END\n(.*?)END\n", GUIDE, re.DOTALL)
    text = re.sub(r"\$\(openssl rand -hex \d+\)|\$\w+", "0123456789abcdef" * 2, block)
    environ = dict(line.split("=", 1) for line in text.splitlines())
    settings = parse_settings([], environ)
    assert settings.store.startswith("redis://:")
    assert settings.database.startswith("postgresql://latchkey:")
    assert settings.cookie_secure == "yes"
    for name in set(re.findall(rf"{PREFIX}[A-Z_]+", PAGES)) - {f"{PREFIX}CONFIG"}:
        assert hasattr(settings, name.removeprefix(PREFIX).lower()), name


def test_the_guides_links_exist() -> None:
    """Every file that it links or copies is there."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", GUIDE):
        assert (ROOT / "docs" / target).exists(), target
    for path in re.findall(r"/opt/latchkey/([\w./@-]+)", PAGES + UNIT):
        assert (ROOT / path).exists() or path.startswith((".venv", "static/vendor")), path
    headings = {
        "#" + re.sub(r"[^a-z -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^## (.*)$", GUIDE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\((#[^)]*)\)", GUIDE)) <= headings


@pytest.mark.parametrize("language", ["sh"])
def test_the_guides_blocks_are_shell(language: str) -> None:
    """The shell parses each of them."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGES, re.DOTALL)
    assert len(blocks) >= 7
    for block in blocks:
        done = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + block


def test_each_block_works_in_a_new_shell() -> None:
    """It sets each variable that it uses."""
    for block in re.findall(r"```sh\n(.*?)```", PAGES, re.DOTALL):
        used = set(re.findall(r"\$\{?([A-Za-z_]+)", block))
        made = set(re.findall(r"\b([A-Za-z_]+)=", block)) | set(re.findall(r"for (\w+) in", block))
        assert used <= made, block


def test_nginx_waits_as_long_as_the_program_does() -> None:
    """Its limits fit the defaults of the settings."""
    settings = Settings()
    (size,) = re.findall(r"client_max_body_size (\d+);", NGINX)
    assert int(size) == settings.max_message_size
    for name in ("proxy_read_timeout", "proxy_send_timeout"):
        # the value for everything; some locations have shorter ones
        (seconds,) = re.findall(rf"^    {name} (\d+)s;", NGINX, re.MULTILINE)
        assert int(seconds) > settings.ping_interval + settings.ping_timeout
    assert int(unit("TimeoutStopSec")) >= settings.drain_time + 10


def test_nginx_asks_for_https_as_long_as_the_program_does() -> None:
    """The files that nginx serves itself have the header of the defaults."""
    (value,) = re.findall(r'add_header Strict-Transport-Security "(.*)" always;', NGINX)
    assert value == strict_transport(Settings())


def test_haproxy_and_caddy_wait_as_long_as_the_program_does() -> None:
    """Their limits fit the defaults of the settings, as nginx's do."""
    settings = Settings()
    silence = settings.ping_interval + settings.ping_timeout
    for name in ("client", "server", "tunnel"):
        (seconds,) = re.findall(rf"^defaults\n(?:.+\n)*? +timeout {name} +(\d+)s$", HAPROXY, re.M)
        assert int(seconds) > silence
    for text in (HAPROXY, CADDY):
        (size,) = re.findall(r"(?i)content-length\b.* (?:gt|>) (\d+)", text)
        assert int(size) == settings.max_message_size
    polls = re.findall(r"import process /healthz (\d+)s \d+s", CADDY)
    assert sum(int(seconds) > silence for seconds in polls) == 2  # one for each process


@pytest.mark.parametrize("number", [0, 1])
def test_each_process_in_haproxy_and_caddy_has_its_place_everywhere(number: int) -> None:
    """In each group, and in the rule that sends its clients to it."""
    address = f"127.0.0.1:{8880 + number}"
    assert HAPROXY.count(f"server process{number} {address} ") == 4
    assert f"use-server process{number} if {{ url_param(sid) -m beg {number}- }}" in HAPROXY
    assert len(re.findall(rf"\bto .*{re.escape(address)}\b", CADDY)) == CADDY.count(
        "reverse_proxy {"
    )
    assert f"startsWith('{number}-')" in CADDY
    assert re.search(rf"handle @process{number} {{\n\t+reverse_proxy {{\n\t+to {address} ", CADDY)


def test_each_process_in_nginx_has_its_place_everywhere() -> None:
    """In the three groups of all, in a group of its own, as another one's backup, in the map."""
    numbers = sorted(set(re.findall(r"upstream latchkey_(\d+) ", NGINX)))
    assert numbers == ["0", "1"]
    for number in numbers:
        port = 8880 + int(number)
        assert NGINX.count(f"server 127.0.0.1:{port} max_fails=") == 4
        assert NGINX.count(f"server 127.0.0.1:{port} backup;") == 1
        assert f"~^{number}- latchkey_{number};" in NGINX
        assert re.search(rf"upstream latchkey_{number} {{\n +server 127.0.0.1:{port} max", NGINX)


@pytest.mark.parametrize("number", [0, 12])
def test_the_units_command_starts_a_process(tmp_path: Path, number: int) -> None:
    """As systemd would run it: a port of its own, its folder, and READY=1 when it serves."""
    base = free_port() - number
    link_program(tmp_path)
    command = unit("ExecStart").replace("%i", str(number)).replace("$$", "$")
    command = command.replace("8880", str(base))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        with subprocess.Popen(
            shlex.split(command),
            cwd=tmp_path,
            env={
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "STATE_DIRECTORY": str(tmp_path / "state"),
                "LATCHKEY_STORE": "memory",
            },
            stdout=subprocess.PIPE,
            text=True,
        ) as running:
            try:
                assert manager.recv(100) == b"READY=1"
                assert running.stdout is not None
                line = running.stdout.readline()
            finally:
                running.terminate()
                assert running.wait(20) == 0
    assert f":{base + number} " in line
    assert (tmp_path / "state").is_dir()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("question", [["verify"], ["security", "--offline=yes", "--threshold=20"]])
@pytest.mark.parametrize("name", ["latchkey@.service", "latchkey-backup.service"])
def test_systemd_takes_the_unit_and_finds_little_exposed(name: str, question: list[str]) -> None:
    """`verify` reports nothing, and `security` rates it below 2 of 10."""
    path = ROOT / "deploy" / name
    done = subprocess.run(
        ["systemd-analyze", *question, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert question != ["verify"] or done.stderr == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_takes_the_timer_of_backups() -> None:
    """It reports nothing, and the time is one that it knows."""
    path = ROOT / "deploy" / "latchkey-backup.timer"
    (time,) = re.findall(r"^OnCalendar=(.*)$", path.read_text(), re.MULTILINE)
    for words in (["verify", path], ["calendar", time]):
        done = subprocess.run(
            ["systemd-analyze", *words], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
