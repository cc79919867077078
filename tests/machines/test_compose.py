"""The Dockerfile and compose.yml, built by buildah and run by podman and runc.

The images of Python, nginx, Redis and PostgreSQL are stand-ins, made of Debian's packages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.machines.engine import Engine
from tests.support.paths import ROOT
from tests.support.requirements import find_program

VISIT = Path(__file__).with_name("visit.py")
PORTS = {"HTTP_PORT": "8080", "HTTPS_PORT": "8443"}
URL = f"https://localhost:{PORTS['HTTPS_PORT']}"


def compose_file() -> dict[str, Any]:
    """Return compose.yml as this machine can run it: built images, no limits of resources."""
    compose: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text("utf-8"))
    for service in compose["services"].values():
        for name in ("build", "ulimits", "mem_limit"):
            service.pop(name, None)
    return compose


def arg(name: str) -> str:
    """Return the name of a base image in the Dockerfile."""
    (line,) = [
        line
        for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines()
        if line.startswith(f"ARG {name}=")
    ]
    return "docker.io/library/" + line.partition("=")[2]


@pytest.fixture
def engine(folder: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine with all images of compose.yml."""
    bases: Path | None = request.config.getoption("--bases")
    engine = Engine(folder, bases)
    try:
        services = compose_file()["services"]
        nginx = arg("NGINX_IMAGE")
        engine.build_base(arg("PYTHON_IMAGE"), "python", "python")
        engine.build_base(nginx, "nginx", "services")
        for name in ("redis", "postgres"):
            image = "docker.io/library/" + services[name]["image"]
            engine.build_base(image, name, "services", f"--build-arg=NGINX={nginx}")
        engine.build_ours("latchkey", "latchkey")
        engine.build_ours("nginx", "latchkey-nginx")
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def site(engine: Engine) -> Engine:
    """All of compose.yml, running and healthy."""
    file = engine.folder / "compose.yml"
    file.write_text(yaml.safe_dump(compose_file()))
    place = f"--root={engine.folder}/storage --runroot={engine.folder}/run"
    command = [find_program("podman-compose"), "--podman-args", place, "-f", str(file)]
    settings = [f"{name}={port}" for name, port in PORTS.items()]
    print(engine.enter("env", *settings, *command, "up", "--detach", "--no-build"))
    for name in ("redis", "postgres", "latchkey-0", "latchkey-1", "nginx"):
        engine.until(lambda name=name: engine.healthy(f"latchkey_{name}_1"))  # type: ignore[misc]
    return engine


def visit(site: Engine) -> dict[str, Any]:
    """Visit the site with the cookies of the last visit."""
    certificate = site.folder / "fullchain.pem"
    made = site.podman("exec", "latchkey_nginx_1", "cat", "/secrets/certificates/fullchain.pem")
    certificate.write_text(made)
    said = site.enter(
        sys.executable, str(VISIT), URL, str(certificate), str(site.folder / "cookies")
    )
    found: dict[str, Any] = json.loads(said)
    return found


def test_compose_serves_a_site(site: Engine) -> None:
    """A user signs in; each container does without rights; a process goes and comes back."""
    first = visit(site)
    assert first["processes"] == ["0", "1"]
    for name in ("redis", "postgres", "latchkey-0", "latchkey-1", "nginx"):
        check_rights(site, f"latchkey_{name}_1")
    check_process(site, "latchkey_latchkey-0_1")

    # as `docker compose up` does for a new release: SIGTERM, and another container's start
    site.podman("stop", "latchkey_latchkey-0_1")
    code = site.podman("inspect", "--format", "{{.State.ExitCode}}", "latchkey_latchkey-0_1")
    assert code.strip() == "0", site.podman("logs", "latchkey_latchkey-0_1")
    second = visit(site)
    assert second["processes"] == ["1"]
    assert second["count"] > first["count"]
    site.until(lambda: site.healthy("latchkey_latchkey-0_1"))
    third = visit(site)
    assert third["processes"] == ["0", "1"]
    assert third["count"] > second["count"]


def check_rights(site: Engine, container: str) -> None:
    """The container's first process is no root, has no capability, and cannot get any."""
    pid = site.podman("inspect", "--format", "{{.State.Pid}}", container).strip()
    status = site.enter("cat", f"/proc/{pid}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert "0" not in fields["Uid"].split(), container
    assert int(fields["CapBnd"], 16) == 0, container
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2"), container
    mounts = site.enter("cat", f"/proc/{pid}/mounts").splitlines()
    (root,) = [line.split() for line in mounts if line.split()[1] == "/"]
    assert "ro" in root[3].split(","), container


def check_process(site: Engine, container: str) -> None:
    """The process can write its folders only, and says whether it is well."""
    for folder, code in (("/data", 0), ("/keys", 0), ("/tmp", 0), ("/opt/latchkey", 1)):
        tried = site.podman("exec", container, "sh", "-c", f"touch {folder}/x 2>/dev/null; echo $?")
        assert tried.splitlines()[-1] == str(code), folder
    for flags, answer in (([], "alive"), (["--ready"], "ready")):
        said = site.podman("exec", container, "python", "-m", "app.health", *flags)
        assert f'"status": "{answer}"' in said
    assert "2 of 2 processes" in site.podman(
        "exec", container, "python", "-m", "app", "keys", "list"
    )
    tried = site.podman("exec", container, "python", "-m", "pip", check=False)
    assert "No module named pip" in tried
