"""The Dockerfile, compose.yml and deploy/kubernetes agree with the program and with each other."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from app.settings import PREFIX, Settings, parse_settings
from app.web.strict_transport import strict_transport
from tests.support.paths import ROOT
from tests.support.requirements import find_program

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KUBERNETES = ROOT / "deploy" / "kubernetes"
NGINX = (KUBERNETES / "nginx.conf").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yml").read_text(encoding="utf-8"))
# seconds: sockets leave, their handlers end, the modules stop
STOP = 2 * Settings().drain_time + Settings().stop_timeout
PROCESSES = [name for name in COMPOSE["services"] if name.startswith("latchkey-")]


def manifest(kind: str, name: str) -> Any:
    """Return an object of the manifests."""
    for path in KUBERNETES.glob("*.yaml"):
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if (each["kind"], each.get("metadata", {}).get("name")) == (kind, name):
                return each
    raise AssertionError(f"there is no {kind} {name}")


def pod(kind: str, name: str) -> Any:
    """Return the pods of a Deployment or a StatefulSet."""
    return manifest(kind, name)["spec"]["template"]["spec"]


def instructions(stage: str) -> list[tuple[str, str]]:
    """Return the instructions of a stage of the Dockerfile, each a word and the rest."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    for part in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]:
        first, *lines = part.splitlines()
        if first.endswith(f" AS {stage}"):
            words = [line.strip().partition(" ") for line in lines if line.strip()]
            return [(word, rest.strip()) for word, _, rest in words]
    raise AssertionError(f"there is no stage {stage}")


def test_the_image_has_a_python_that_the_program_runs_on() -> None:
    """As setup.py says."""
    (version,) = re.findall(r"^ARG PYTHON_IMAGE=python:(3\.\d+)-slim", DOCKERFILE, re.MULTILINE)
    (needed,) = re.findall(r'python_requires="(.*)"', (ROOT / "setup.py").read_text("utf-8"))
    assert version in SpecifierSet(needed)
    assert version in (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")


def test_what_the_images_copy_is_there_and_not_ignored() -> None:
    """Docker sees only what .dockerignore admits."""
    admitted = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for stage in ("build", "latchkey", "nginx")
        for word, rest in instructions(stage)
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in admitted), source


def test_the_program_is_started_without_a_shell_and_without_rights() -> None:
    """SIGTERM reaches Python; the user is known by its number."""
    image = dict(instructions("latchkey"))
    assert json.loads(image["ENTRYPOINT"]) == ["python", "-m", "app"]
    assert image["STOPSIGNAL"] == "SIGTERM"
    assert image["USER"] == "10001:10001"
    assert dict(instructions("nginx"))["USER"] == "101:101"
    assert json.loads(image["HEALTHCHECK"].partition(" CMD ")[2]) == ["python", "-m", "app.health"]
    environ = dict(re.findall(rf"({PREFIX}[A-Z_]+)=(\S+)", image["ENV"]))
    settings = parse_settings([], environ)
    assert str(settings.data_dir) == image["VOLUME"]
    assert str(settings.port) == image["EXPOSE"]


def test_only_locked_packages_get_into_the_image() -> None:
    """Each pip install asks for hashes."""
    installs = re.findall(r"pip install ([^\\&]*)", DOCKERFILE)
    assert len(installs) == 2
    assert all("--require-hashes" in each for each in installs)


@pytest.mark.parametrize("name", PROCESSES)
def test_each_process_of_compose_has_its_own_number_socket_and_data(name: str) -> None:
    """The program takes its settings, and Docker waits until it has drained."""
    service, number = COMPOSE["services"][name], int(name.rpartition("-")[2])
    environ = {key: str(value) for key, value in service["environment"].items()}
    environ[f"{PREFIX}ALLOWED_HOSTS"] = "localhost"
    del environ[f"{PREFIX}CONFIG"]
    settings = parse_settings([], environ)
    assert settings.process_number == number
    assert settings.unix_socket == Path(f"/run/latchkey/{number}.sock")
    assert f"data-{number}:/data" in service["volumes"]
    assert int(service["stop_grace_period"].removesuffix("s")) >= STOP + 5


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_no_service_of_compose_has_rights(name: str) -> None:
    """The root is read-only, there are no capabilities, and the log does not fill the disk."""
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]
    mounted = {each.partition(":")[0] for each in service.get("volumes", [])}
    named = {each for each in mounted if not each.startswith("$")}
    assert named <= set(COMPOSE["volumes"])


def test_nginx_of_the_container_has_each_process(tmp_path: Path) -> None:
    """nginx accepts what the container makes of deploy/nginx.conf, for this site's name."""
    script = (ROOT / "deploy" / "container" / "nginx.sh").read_text("utf-8")
    script = script.replace("/tmp/", f"{tmp_path}/").replace("/opt/latchkey/", f"{ROOT}/")
    script = script.replace("exec nginx", f"exec {find_program('nginx')} -t -e {tmp_path}/log")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
    subprocess.run(
        [*make.split(), "-keyout", tmp_path / "privkey.pem", "-out", tmp_path / "fullchain.pem"],
        capture_output=True,
        check=True,
    )
    done = subprocess.run(
        ["sh", "-c", script],
        env={
            "PATH": "/usr/bin:/bin",
            "SITE": "site.example",
            "HTTPS_PORT": "8443",
            "CERTIFICATE_FOLDER": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "nginx.conf").read_text("utf-8")
    for rest in ("127.0.0.1:", "example.com", "/etc/letsencrypt", "/var/log", "listen 80 "):
        assert rest not in made.replace("127.0.0.1/32", "")
    assert "return 301 https://site.example:8443$request_uri;" in made
    for name in PROCESSES:
        assert f"unix:/run/latchkey/{name.rpartition('-')[2]}.sock" in made


def test_kubernetes_waits_as_long_as_the_program_does() -> None:
    """preStop, the drain and the stop, and then some seconds."""
    pods = pod("StatefulSet", "latchkey")
    (container,) = pods["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pods["terminationGracePeriodSeconds"] >= pause + STOP + 10
    # nginx keeps an address for `valid`, the cluster's DNS for 5 s (or 30 s if it was changed)
    (valid,) = re.findall(r"resolver .* valid=(\d+)s", NGINX)
    assert pause >= int(valid) + 10


def test_no_pod_is_killed_because_a_store_is_away() -> None:
    """Only /readyz asks the stores."""
    (container,) = pod("StatefulSet", "latchkey")["containers"]
    for probe in ("livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize(("kind", "name"), [("StatefulSet", "latchkey"), ("Deployment", "nginx")])
def test_no_pod_has_rights(kind: str, name: str) -> None:
    """The user is the image's, and the root is read-only."""
    pods = pod(kind, name)
    (container,) = pods["containers"]
    user = dict(instructions(name))["USER"]
    context = pods["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pods["automountServiceAccountToken"] is False


def test_kubernetes_names_are_those_that_nginx_asks_for() -> None:
    """nginx finds the pods by the Services, and the settings in the secret are settings."""
    namespace = manifest("Namespace", "latchkey")["metadata"]["name"]
    for host in re.findall(r"([\w$.-]+)\.svc\.cluster\.local", NGINX):
        if host.startswith("kube-dns"):
            continue
        *pods, service, place = host.split(".")
        assert place == namespace
        assert pods in ([], ["latchkey-$number"])
        found = manifest("Service", service)["spec"]
        assert found["clusterIP"] == "None"
        # the one with the names of pods has those too that are not ready
        assert found.get("publishNotReadyAddresses", False) is bool(pods)
    assert manifest("StatefulSet", "latchkey")["spec"]["serviceName"] == "latchkey"


def test_the_secret_of_kubernetes_has_settings(tmp_path: Path) -> None:
    """The program takes the example."""
    path = tmp_path / "latchkey.toml"
    path.write_text(manifest("Secret", "latchkey")["stringData"]["latchkey.toml"])
    settings = parse_settings([f"--config={path}"], {})
    assert settings.shared
    assert settings.cookie_secure == "yes"


def test_nginx_of_kubernetes_does_what_that_of_one_machine_does() -> None:
    """Headers, limits, times and files; only the addresses of the processes differ."""
    machine = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
    names = "proxy_set_header|add_header|client_|ssl_p|ssl_ciphers|limit_|log_format|gzip"
    same = rf"^ *((?:{names}|proxy_\w+_timeout)[^{{}}]*?;)"
    here, there = (
        {line for line in re.findall(same, text, re.MULTILINE) if "temp_path" not in line}
        for text in (NGINX, machine)
    )
    differ = {line.split()[0] for line in here ^ there}
    # the keys of limits, since here no machine is exempt, and what is asked before a handshake
    assert differ <= {"limit_conn_zone", "limit_req_zone", "proxy_set_header", "proxy_read_timeout"}
    assert {line for line in here - there if line.startswith("proxy")} == set()
    assert f'"{strict_transport(Settings())}"' in NGINX
