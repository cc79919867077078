"""Redis servers and addresses that cannot be used."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from app.stores import StoreUnavailable
from app.stores.redis.address import Address, InvalidRedisUrl
from app.stores.redis.reply_error import ReplyError
from tests.support.ports import free_port
from tests.support.process import run
from tests.support.redis_server import RedisServer
from tests.support.sites import processes
from tests.support.stores import record

SECRET = "--secret-keys=0123456789abcdef"


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://localhost",
        "redis+sentinel://localhost/service/db",
        "redis+sentinel://a:b:c/service",
        "redis+sentinel://localhost:\u0662\u0666/service",
        "redis+sentinel://localhost:26379/service/\u0661",
        "redis+sentinel://localhost:/service",
        "redis://localhost/0?socket_timeout=x",
        "redis://localhost/0?wait_replicas=two",
        "redis+sentinel://localhost/service?wait_replicas=-1",
    ],
)
def test_invalid_urls_are_refused(url: str) -> None:
    """The message begins with the setting."""
    with pytest.raises(InvalidRedisUrl, match="--store: "):
        Address(url)


async def refused(tmp_path: Path, url: str, *flags: str) -> str:
    """Start `python -m app` with this store; return the one line that it ends with."""
    code, out, err = await run("--port=0", f"--data-dir={tmp_path}", f"--store={url}", *flags)
    assert out == ""
    assert code in (1, 2)
    line = err.strip().splitlines()[-1]
    assert line.startswith("latchkey: ")
    assert "Traceback" not in err
    return line


async def test_redis_needs_secret_keys(tmp_path: Path) -> None:
    """Other processes would not know a key that one process generated."""
    assert "--secret-keys" in await refused(tmp_path, "redis://127.0.0.1:1/0")


async def test_an_unreachable_redis_ends_the_start(tmp_path: Path) -> None:
    """The message has the address, without the password, and the setting."""
    line = await refused(tmp_path, "redis://:hunter22@127.0.0.1:1/0", SECRET)
    assert "redis://127.0.0.1:1/0" in line
    assert "--store" in line
    assert "hunter22" not in line


async def test_a_wrong_password_ends_the_start(tmp_path: Path) -> None:
    """The message has the error of Redis; the right password works."""
    server = RedisServer(tmp_path / "redis", "--requirepass", "hunter22")
    server.start()
    try:
        plain = f"127.0.0.1:{server.port}/0"
        assert "NOAUTH" in await refused(tmp_path / "data", f"redis://{plain}", SECRET)
        wrong = await refused(tmp_path / "data", f"redis://:wrong@{plain}", SECRET)
        assert "WRONGPASS" in wrong
        assert ":wrong@" not in wrong
        async with processes(1, f"redis://:hunter22@{plain}") as (store,):
            await store.save(record())
    finally:
        server.kill()


async def test_tls_checks_the_certificate(tmp_path: Path) -> None:
    """rediss:// trusts the certificate that the URL names, and refuses another one."""
    certificate, key = certify(tmp_path, "own")
    stranger, _ = certify(tmp_path, "stranger")
    port = free_port()
    server = RedisServer(
        tmp_path / "redis",
        *("--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key),
        *("--tls-auth-clients", "no"),
    )
    server.start()
    try:
        url = f"rediss://localhost:{port}/0?ssl_ca_certs="
        async with processes(1, url + certificate) as (store,):
            await store.save(record())
            assert await store.load("a") == record()
        assert "certificate verify failed" in await refused(tmp_path, url + stranger, SECRET)
    finally:
        server.kill()


def certify(folder: Path, name: str) -> tuple[str, str]:
    """Make a certificate for localhost that signs itself; return its path and its key's."""
    certificate, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        capture_output=True,
        check=True,
    )
    return certificate, key


async def test_a_redis_cluster_is_refused(tmp_path: Path) -> None:
    """It would spread keys that belong together; the message says so."""
    bus = ("--cluster-port", str(free_port()))
    server = RedisServer(tmp_path / "redis", "--cluster-enabled", "yes", *bus)
    server.start()
    try:
        assert "Cluster" in await refused(tmp_path / "data", server.url, SECRET)
    finally:
        server.kill()


async def test_a_replica_is_refused(tmp_path: Path) -> None:
    """It takes no writes; the message says to name its master."""
    server = RedisServer(tmp_path / "redis", "--replicaof", "127.0.0.1", "1")
    server.start()
    try:
        assert "replica" in await refused(tmp_path / "data", server.url, SECRET)
    finally:
        server.kill()


async def test_an_evicting_redis_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It works, and the log says what to set."""
    server = RedisServer(
        tmp_path / "redis", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"
    )
    server.start()
    try:
        async with processes(1, server.url) as (store,):
            await store.ping()
        assert "set it to noeviction" in caplog.text
    finally:
        server.kill()


async def test_a_closed_store_fails_at_once() -> None:
    """After `close` every call raises StoreUnavailable."""
    async with processes(1) as (store,):
        await store.save(record())
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.load("a")


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        (
            "NOSCRIPT No matching script. Please use EVAL.",
            "NOSCRIPT",
            "NOSCRIPT No matching script. Please use EVAL",
        ),
        (
            f"NOREPLICAS Not enough good replicas. script: {'0f' * 20}, on @user_script:21.",
            "NOREPLICAS",
            "NOREPLICAS Not enough good replicas",
        ),
        (
            "ERR Error running script (call to f_1): @user_script:5: @user_script: 5: "
            "-READONLY You can't write against a read only replica.",
            "READONLY",
            "READONLY You can't write against a read only replica",
        ),
        (
            "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: oh",
            "ERR",
            "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: oh",
        ),
    ],
)
def test_an_error_in_a_script_is_read(text: str, code: str, sentence: str) -> None:
    """Redis 7 begins the message with its code, Redis 6.2 does not; the script is left out."""
    error = ReplyError(text)
    assert (error.code, error.sentence) == (code, sentence)
