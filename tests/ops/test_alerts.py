"""deploy/alerts.yml on a real Prometheus: every alert fires, and a healthy site is quiet."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.altered_metrics import Alter, AlteredMetrics, put, rising, slow
from tests.support.exported import unknown, whole_text
from tests.support.paths import ROOT
from tests.support.postgres import Postgres
from tests.support.process import process
from tests.support.prometheus import ALERTS, Prometheus, short_rules
from tests.support.redis_server import RedisServer
from tests.support.requirements import find_program
from tests.support.visitor import Visitor
from tests.support.waiting import until

pytestmark = pytest.mark.limit(120)


def now(text: str, seconds: float) -> str:
    """Leave the metrics as they are."""
    return text


#: What makes each alert fire.
FIRE: dict[str, Alter] = {
    "LatchkeyDown": now,  # the server answers 503
    "LatchkeyNotReady": put("latchkey_ready", 0),
    "LatchkeyRestartsOften": rising("process_start_time_seconds", 1.0),
    "LatchkeyVersionsDiffer": lambda text, _: re.sub('version="[^"]*"', 'version="0.0.1"', text),
    "LatchkeyLoopLag": slow("latchkey_loop_lag_seconds"),
    "LatchkeyLoopStalls": rising("latchkey_loop_stalls_total", 1.0),
    "LatchkeyMemoryGrows": rising("process_resident_memory_bytes", 1e6, 1e8),
    "LatchkeyFewDescriptors": lambda text, seconds: put("process_open_fds", 900)(
        put("process_max_fds", 1000)(text, seconds), seconds
    ),
    "LatchkeyManyConnections": lambda text, seconds: put(
        'latchkey_connections{transport="websocket"}', 800
    )(put("process_max_fds", 1000)(text, seconds), seconds),
    "LatchkeyServerErrors": rising('latchkey_requests_total{code="500"}', 1.0),
    "LatchkeySlowPages": slow("latchkey_request_seconds", 'route="/incr"'),
    "LatchkeyEventsFail": rising('latchkey_event_errors_total{error="internal"}', 5.0),
    "LatchkeyHandshakesRefused": rising('latchkey_handshakes_total{result="forbidden"}', 1.0),
    "LatchkeyClientsThrottled": rising('latchkey_limits_hit_total{limit="events_per_second"}', 5.0),
    "LatchkeySlowClients": rising(
        'latchkey_connections_closed_total{reason="client reads too slowly"}', 1.0
    ),
    "LatchkeyPasswordsGuessed": rising(
        'latchkey_sign_ins_total{method="password",result="wrong"}', 2.0
    ),
    "LatchkeyStoreAway": put("latchkey_store_up", 0),
    "LatchkeyStoreErrors": rising('latchkey_store_errors_total{call="save"}', 1.0),
    "LatchkeyRedisAway": put("latchkey_redis_up", 0),
    "LatchkeyRedisUnsteady": rising("latchkey_redis_reconnects_total", 2.0),
    "LatchkeyDatabaseAway": put("latchkey_database_up", 0),
    "LatchkeyDatabaseBusy": put('latchkey_database_calls_waiting{pool="accounts hash"}', 60),
    "LatchkeyExpiryPaused": put("latchkey_expiry_paused", 1),
    "LatchkeyExpiryBacklog": put("latchkey_expiry_lag_seconds", 700),
    "LatchkeyJobsFail": rising('latchkey_job_runs_total{name="job",result="failed"}', 1.0),
    "LatchkeyMailsFail": rising('latchkey_mails_total{result="given up"}', 2.0),
    "LatchkeyBackupOld": put("latchkey_backup_last_success_timestamp_seconds", 0),
}
_BACKUP = "latchkey_backup_last_success_timestamp_seconds"


async def test_every_alert_fires_for_its_cause_and_for_no_other(tmp_path: Path) -> None:
    """Prometheus scrapes what a process has exported, once as it is and once for each cause."""
    text = put(_BACKUP, time.time())(await whole_text(tmp_path / "site"), 0.0)
    async with AlteredMetrics(text, FIRE) as server:
        targets = {name: (server.address, f"/{name}") for name in ("healthy", *FIRE)}
        targets["LatchkeyVersionsDiffer.other"] = (server.address, "/healthy")
        async with Prometheus(tmp_path / "prometheus", targets) as prometheus:
            rules = await prometheus.rules()
            # the test below provokes that one, by stopping the only process
            assert [rule["name"] for rule in rules if rule["name"] != "LatchkeyMissing"] == list(
                FIRE
            )
            expected = {name: {name} for name in FIRE}
            found: dict[str, set[str]] = {}

            async def as_expected() -> bool:
                nonlocal found
                found = await prometheus.firing()
                # by then a healthy process would have set off what it does
                return found == expected and await prometheus.scraped("healthy") >= 8

            try:
                await until(as_expected, 60)
            except AssertionError:
                wrong = {name: jobs for name, jobs in found.items() if jobs != expected.get(name)}
                missing = expected.keys() - found.keys()
                raise AssertionError(f"{missing} do not fire; fire wrongly: {wrong}") from None
        assert server.errors == {}


_PROVOKED = (
    *("LatchkeyPasswordsGuessed", "LatchkeyRedisAway", "LatchkeyStoreAway", "LatchkeyNotReady"),
    *("LatchkeyStoreErrors", "LatchkeyDatabaseAway", "LatchkeyDown", "LatchkeyMissing"),
)


async def test_alerts_fire_while_a_process_loses_what_it_needs(
    tmp_path: Path,
) -> None:
    """A real process: wrong passwords, Redis killed, PostgreSQL stopped, the process frozen."""
    redis, database = RedisServer(tmp_path / "redis"), Postgres()
    redis.start()
    environ: dict[str, Any] = {
        "LATCHKEY_STORE": redis.url,
        "LATCHKEY_DATABASE": database.url(database.database()),
        "LATCHKEY_SECRET_KEYS": "a key only for this test",
    }
    try:
        async with process(tmp_path / "data", **environ) as site, Visitor(site.url) as ann:
            address = site.url.removeprefix("http://").rstrip("/")
            async with Prometheus(tmp_path / "p", {"site": (address, "/metrics")}) as prometheus:

                async def fire(*names: str) -> bool:
                    return set(names) <= (await prometheus.firing()).keys()

                await until(lambda: _scrapes(prometheus, 3))
                assert (await prometheus.firing()).keys().isdisjoint(_PROVOKED)
                for name in ("ann", "bob", "cem"):
                    for _ in range(4):
                        wrong = {"username": name, "password": "not the password"}
                        await ann.post("/login", json=wrong)
                await until(lambda: fire("LatchkeyPasswordsGuessed"))
                redis.kill()
                await until(
                    lambda: fire(*_PROVOKED[1:5]),
                    25,
                )
                redis.start()
                database.stop()
                await until(lambda: fire("LatchkeyDatabaseAway"), 25)
                site.process.send_signal(signal.SIGSTOP)
                await until(lambda: fire("LatchkeyDown", "LatchkeyMissing"), 25)
                site.process.send_signal(signal.SIGCONT)
    finally:
        redis.kill()
        database.remove()


async def _scrapes(prometheus: Prometheus, number: int) -> bool:
    return await prometheus.scraped("site") >= number


def test_promtool_finds_no_fault_with_the_alerts(tmp_path: Path) -> None:
    """Neither as they are nor as the other tests load them."""
    promtool = find_program("promtool", package="prometheus")
    short = tmp_path / "short.yml"
    short.write_text(short_rules(), encoding="utf-8")
    for path in (ALERTS, short):
        done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


async def test_alerts_ask_for_metrics_that_exist(tmp_path: Path) -> None:
    """A metric that gets another name is noticed here."""
    asked = set(re.findall(r"\b(?:latchkey|process)_\w+", ALERTS.read_text(encoding="utf-8")))
    assert asked
    assert unknown(asked, await whole_text(tmp_path)) == set()


def test_the_page_says_what_every_alert_means() -> None:
    """docs/observability.md lists them in the same order; every rule says what to do."""
    rules = ALERTS.read_text(encoding="utf-8")
    names = re.findall(r"- alert: (\w+)", rules)
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    assert "\n## Alerts\n" in page
    assert re.findall(r"^\| `(Latchkey\w+)`", page, re.MULTILINE) == names
    for part in (
        "severity: ",
        "summary: ",
        "description: ",
        "runbook: docs/observability.md#alerts",
    ):
        assert rules.count(part) == len(names), part
