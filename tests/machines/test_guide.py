"""docs/deploy.md, copied block by block to an empty machine of each system that it names."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.machines.guide import blocks
from tests.machines.machine import Machine
from tests.support.paths import ROOT

HERE = Path(__file__).parent
SETUP = r"\d\. "  # the sections with numbers
LATER = "A new release|Sockets of systemd|Unix sockets|Backups"
PYTHONS = {"bookworm": "3.11", "trixie": "3.13", "noble": "3.12"}


def prepare(machine: Machine) -> None:
    """Give the machine what the reader has: a fork, a name that leads here, and certificates."""
    subprocess.run(
        ["git", "clone", "-q", "--bare", ROOT, machine.root / "srv" / "fork.git"], check=True
    )
    (machine.root / "etc" / "gitconfig").write_text(
        '[url "/srv/fork.git"]\n\tinsteadOf = https://git.example.com/you/latchkey.git\n'
        "[safe]\n\tdirectory = *\n"
    )
    with (machine.root / "etc" / "hosts").open("a") as hosts:
        hosts.write("\n127.0.0.1 example.com\n")
    shutil.copy(HERE / "certbot", machine.root / "usr" / "local" / "bin" / "certbot")
    shutil.copy(HERE / "visit.py", machine.root / "srv" / "visit.py")


def visit(machine: Machine) -> int:
    """Visit the site with the cookies of the last visit; return the counter."""
    certificate = "/etc/letsencrypt/live/latchkey/fullchain.pem"
    said = machine.run(f"python3 /srv/visit.py https://example.com {certificate} /srv/cookies")
    seen = json.loads(said)
    assert seen["processes"] == ["0", "1"]
    return int(seen["count"])


@pytest.mark.parametrize("machine", PYTHONS, indirect=True)
def test_the_guide_leads_from_an_empty_machine_to_a_site(
    machine: Machine, request: pytest.FixtureRequest
) -> None:
    """Each block works in a new shell. Then a user is signed in, also after a reboot."""
    release = request.node.callspec.params["machine"]
    prepare(machine)
    before = len(machine.run("dpkg --get-selections").splitlines())
    for block in blocks(SETUP):
        print(f"-- {block.section}\n{block.script}")
        print(machine.run(block.script))
    after = len(machine.run("dpkg --get-selections").splitlines())
    print(f"{release}: {after - before} packages were installed")

    python = machine.run("/opt/latchkey/.venv/bin/python --version")
    assert f"Python {PYTHONS[release]}." in python
    assert machine.run("systemctl --failed --no-legend") == ""
    first = visit(machine)
    check_the_units(machine)
    check_the_logs(machine)
    check_the_firewall(machine)
    machine.reboot()
    ready = "until curl -sf http://127.0.0.1:888{}/readyz; do sleep 1; done"
    for number in range(2):
        machine.run(ready.format(number))
    second = visit(machine)
    assert second > first
    for block in blocks(LATER):
        print(f"-- {block.section}\n{block.script}")
        print(machine.run(block.script))
        second, before = visit(machine), second
        assert second > before
    assert machine.run("systemctl --failed --no-legend") == ""


def check_the_units(machine: Machine) -> None:
    """This release of systemd knows all that they say, and rates a process below 2 of 10."""
    for path in sorted(machine.root.glob("opt/latchkey/deploy/latchkey*.*")):
        name = path.name.replace("@.", "@0.")
        machine.run(f"cp -n /opt/latchkey/deploy/{path.name} /etc/systemd/system/")
        assert machine.run(f"systemd-analyze verify {name}") == "", name
    machine.run("systemd-analyze security --threshold=20 latchkey@0.service")


def check_the_logs(machine: Machine) -> None:
    """The journal has the program's lines, and logrotate renews the file that nginx writes."""
    assert "latchkey.audit: sign-in" in machine.run("journalctl -u 'latchkey@*'")
    assert "SystemMaxUse=1G" in machine.run("systemd-analyze cat-config systemd/journald.conf")
    machine.run("logrotate --force /etc/logrotate.d/nginx")
    visit(machine)
    assert "POST /incr" in machine.run("cat /var/log/nginx/access.log")
    assert "POST /incr" in machine.run("cat /var/log/nginx/access.log.1")
    assert "Traceback" not in machine.run("journalctl -u 'latchkey*'")


def check_the_firewall(machine: Machine) -> None:
    """From outside only SSH, http and https are open, whatever else listens."""
    machine.run("systemd-run --unit=elsewhere python3 -m http.server 9999")
    machine.run("until curl -sf -o /dev/null http://127.0.0.1:9999/; do sleep 0.1; done")
    outside = "latchkey-outside"
    add = f"""ip link add inside type veth peer name outside netns {outside}
ip addr add 10.98.0.1/24 dev inside
ip link set inside up"""
    subprocess.run(["ip", "netns", "add", outside], check=True)
    try:
        subprocess.run(["nsenter", "-t", str(machine.pid), "-n", "sh", "-e", "-c", add], check=True)
        enter = ["ip", "netns", "exec", outside]
        script = "ip addr add 10.98.0.2/24 dev outside; ip link set outside up"
        subprocess.run([*enter, "sh", "-e", "-c", script], check=True)
        codes = {
            port: subprocess.run(
                [
                    *enter,
                    "curl",
                    "-sk",
                    "-m",
                    "3",
                    "-o",
                    "/dev/null",
                    f"{scheme}://10.98.0.1:{port}",
                ],
                check=False,
            ).returncode
            for port, scheme in ((80, "http"), (443, "https"), (22, "http"), (9999, "http"))
        }
    finally:
        subprocess.run(["ip", "netns", "del", outside], check=True)
    # nginx has no certificate for an address (35); nobody listens on 22 (7); 28 is a time-out
    assert codes == {80: 0, 443: 35, 22: 7, 9999: 28}
