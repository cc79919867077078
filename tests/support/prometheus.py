"""A real Prometheus with the rules of deploy/alerts.yml, whose durations are made short."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.support import leftovers
from tests.support.paths import ROOT
from tests.support.ports import free_port, wait_until_open
from tests.support.requirements import find_program
from tests.support.waiting import until

ALERTS = ROOT / "deploy" / "alerts.yml"
_WINDOW = "6s"  # of every rate
_INTERVAL = "1s"  # between scrapes, and between evaluations


def short_rules() -> str:
    """Return the rules with windows of seconds, and without a wait before they fire."""
    text = ALERTS.read_text(encoding="utf-8")
    text = re.sub(r"\[\d+[smhd]\]", f"[{_WINDOW}]", text)
    return re.sub(r"for: \d+[smhd]", "for: 0s", text)


class Prometheus:
    """Scrapes targets, and tells which alerts fire."""

    def __init__(self, folder: Path, targets: Mapping[str, tuple[str, str]]) -> None:
        """`targets` are address and path by the name of the instance."""
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "rules.yml").write_text(short_rules(), encoding="utf-8")
        configs = [
            {
                "targets": [address],
                "labels": {
                    "__metrics_path__": path,
                    "instance": name,
                    "job": f"latchkey-{name.partition('.')[0]}",
                },
            }
            for name, (address, path) in targets.items()
        ]
        config = {
            "global": {"scrape_interval": _INTERVAL, "evaluation_interval": _INTERVAL},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "latchkey", "scrape_timeout": _INTERVAL, "static_configs": configs}
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML

    async def __aenter__(self) -> Prometheus:
        program = find_program("prometheus")
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        leftovers.watch(self._process)
        wait_until_open(self._port, self._process, self._folder / "log")
        await until(self._ready)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def _ready(self) -> bool:
        url = f"http://127.0.0.1:{self._port}/-/ready"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return answer.status == 200

    async def ask(self, path: str, **parameters: str) -> Any:
        """Return what the API answers."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        async with (
            aiohttp.ClientSession() as http,
            http.get(url, params=parameters) as answer,
        ):
            return (await answer.json())["data"]

    async def firing(self) -> dict[str, set[str]]:
        """Return the jobs of the alerts that fire, by the alert's name."""
        found: dict[str, set[str]] = {}
        for alert in (await self.ask("alerts"))["alerts"]:
            if alert["state"] == "firing":
                labels = alert["labels"]
                found.setdefault(labels["alertname"], set()).add(
                    labels.get("job", "").partition("-")[2]
                )
        return found

    async def scraped(self, job: str) -> float:
        """Return how many scrapes of a job have succeeded."""
        answer = await self.ask(
            "query", query=f'sum(count_over_time(up{{job="latchkey-{job}"}}[1h]))'
        )
        return float(answer["result"][0]["value"][1]) if answer["result"] else 0.0

    async def rules(self) -> list[dict[str, Any]]:
        """Return the rules as Prometheus has read them."""
        (group,) = (await self.ask("rules"))["groups"]
        rules: list[dict[str, Any]] = group["rules"]
        return rules
