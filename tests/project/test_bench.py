"""The bench: its arithmetic, its raw clients and one tiny round against real servers."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from unittest import mock
from xml.etree import ElementTree

import pytest

import handlers
from app.module_list import listed
from bench import process, work
from bench.__main__ import exit_status
from bench.clients import HttpClient, LoadError, SocketClient, frame
from bench.contestants import LINEUP, Servers
from bench.load import Crowd, open_sockets, sources
from bench.measures import Sizes, percentile
from bench.plot import svg
from bench.process import Server, StartError
from bench.report import as_json, figure, summary, table
from bench.rows import ROWS, Row, Target
from bench.run import Result, rotated, run_row
from tests.support import forked
from tests.support.ports import free_port
from tests.support.requirements import skip

pytestmark = pytest.mark.skipif(
    "handlers.counter" not in listed(handlers), reason="the bench measures handlers/counter.py"
)
TINY = Sizes(
    seconds=0.05,
    warm=0.05,
    settle=0.1,
    handshakes=20,
    idle_memory=20,
    few=10,
    many=30,
    leaving=10,
    room=10,
    emits=2,
    idle=10,
    idle_seconds=1,
    held=10,
    logouts=1,
    reconciled=1,
)


Start = Callable[[str], Server]


def result_of(rounds: dict[str, list[float]], *targets: Target) -> Result:
    row = Row("incr", "acknowledged `incr`", "cpu_us", "µs", [*rounds], work.posts, targets)
    figures = {name: [{"cpu_us": value} for value in values] for name, values in rounds.items()}
    return Result(row, figures)


def start_program(argv: Sequence[str], output: BinaryIO) -> process.Program:
    """Start a program as the bench does, but the program of this repository without imports."""
    words = list(argv[1:])
    if words[:2] == ["-m", "app"]:
        return forked.Program(*words[1:], output=output.fileno())
    return _start_program(argv, output)


_start_program = process.start_program


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    # no other program takes a port between the choice of it and its use
    with (
        mock.patch.multiple(process, start_program=start_program, free_port=free_port),
        Servers() as running,
    ):
        yield running


@pytest.fixture
def start(servers: Servers) -> Start:
    def start(name: str) -> Server:
        if LINEUP[name].needs_node and not (shutil.which("node") and shutil.which("npm")):
            skip(f"{name} needs Node and npm, which are not installed")
        if LINEUP[name].needs_redis and not shutil.which("redis-server"):
            skip(f"{name} needs redis-server, which is not installed")
        try:
            return servers.warm(name)
        except StartError as why:
            skip(f"{name} cannot be started here: {why}")

    return start


def test_a_ratio_divides_the_medians_so_that_one_bad_round_changes_nothing() -> None:
    target = Target("latchkey", "node", 0.8)
    result = result_of({"latchkey": [12, 10, 900], "node": [20, 24, 28]}, target)
    assert result.reached(target) == 0.5


def test_a_target_without_a_rival_bounds_the_figure_itself() -> None:
    target = Target("latchkey", None, 3)
    assert result_of({"latchkey": [2, 2.5, 4]}, target).reached(target) == 2.5


def test_a_target_whose_rival_is_absent_is_not_judged() -> None:
    target = Target("latchkey", "node", 0.8)
    result = result_of({"latchkey": [10]}, target)
    assert result.reached(target) is None
    assert summary([result]) == ""


def test_the_summary_says_of_each_target_whether_it_was_met() -> None:
    targets = Target("latchkey", "node", 0.8), Target("latchkey", "stock", 0.2)
    result = result_of({"latchkey": [10], "node": [20], "stock": [40]}, *targets)
    met, missed = summary([result]).splitlines()[2:]
    assert met == "| acknowledged `incr` | latchkey / node | 0.5 × | 0.8 × | met |"
    assert missed == "| acknowledged `incr` | latchkey / stock | 0.25 × | 0.2 × | **missed** |"


def test_the_exit_status_tells_of_a_missed_target_and_of_a_server_that_broke() -> None:
    met = result_of({"latchkey": [10], "node": [20]}, Target("latchkey", "node", 0.5))
    missed = result_of({"latchkey": [11], "node": [20]}, Target("latchkey", "node", 0.5))
    broken = result_of({"node": [20]})
    broken.failed["latchkey"] = "a connection was closed under load"
    assert exit_status([met], judge_targets=True) == 0
    assert exit_status([met, missed], judge_targets=True) == 1
    assert exit_status([met, missed], judge_targets=False) == 0
    assert exit_status([met, broken], judge_targets=False) == 1


def test_a_table_gives_the_median_and_the_spread_and_says_who_is_absent() -> None:
    result = result_of({"node": [20, 21.04, 19]})
    result.absent["latchkey"] = "it is not built yet"
    text = table(result)
    assert "| node | 20 (19 to 21) |" in text
    assert "latchkey has no figure: it is not built yet" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.6543, "0.654"), (19.97, "20"), (12_345.6, "12,346"), (0, "0")]
)
def test_a_figure_shows_three_digits_that_matter(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (75, 3), (99, 4), (100, 4), (0, 1)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, value: float) -> None:
    assert percentile([1, 2, 3, 4], percent) == value


def test_each_round_begins_with_another_contestant() -> None:
    assert [rotated(["a", "b", "c"], number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert rotated([], 3) == []


def test_json_holds_every_round_and_no_path_or_name_of_this_machine() -> None:
    result = result_of({"node": [20, 21, 19]})
    text = json.dumps(as_json([result], {"rounds": 3}))
    assert json.loads(text)["rows"][0]["rounds"]["node"] == [{"cpu_us": v} for v in (20, 21, 19)]
    assert socket.gethostname() not in json.loads(text)["machine"].values()
    assert os.sep + "home" not in text
    assert str(Path.cwd()) not in text


def test_the_plot_is_an_svg_with_the_longest_bar_for_the_highest_median() -> None:
    drawing = ElementTree.fromstring(svg([result_of({"latchkey": [10], "node": [20]})]))
    bars = [
        float(bar.get("width", "0")) for bar in drawing.iter("{http://www.w3.org/2000/svg}rect")
    ]
    assert bars == [230, 460]


def test_every_row_compares_only_contestants_that_it_measures() -> None:
    for row in ROWS:
        assert set(row.contestants) <= set(LINEUP)
        for target in row.targets:
            assert {target.who, target.against} <= {None, *row.contestants}


def test_connections_spread_over_loopback_addresses() -> None:
    addresses = sources(15_000)
    assert len(set(addresses)) == len(addresses) >= 15_000 / 400
    assert all(address.startswith("127.") for address in addresses)


@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_a_client_reads_the_same_however_the_bytes_are_cut(step: int) -> None:
    """Handshake, open, join, heartbeat, event and ack, with lengths in 7 and in 16 bits."""
    packets = [
        b"0{}",
        b'40{"sid":"a"}',
        b"2",
        b'42["current count",1]',
        b"43" + b"0" * 200,
        b"431[2]",
    ]
    head = b"HTTP/1.1 101 Switching\r\nSet-Cookie: session=abc; HttpOnly\r\nset-cookie: b=1\r\n\r\n"
    stream = head + b"".join(
        b"\x81" + (bytes([len(p)]) if len(p) < 126 else b"\x7e" + len(p).to_bytes(2, "big")) + p
        for p in packets
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = SocketClient(listening.getsockname()[1])
        server, _ = listening.accept()
        with server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            acks = 0
            for start in range(0, len(stream), step):
                server.sendall(stream[start : start + step])
                acks += client.receive()
            sent = server.recv(65536)
            client.close()
    assert (acks, client.events, client.heartbeats, client.joined) == (2, 1, 1, True)
    assert client.cookie == b"session=abc; b=1"
    assert sent.endswith(frame(b"40") + frame(b"3"))


def test_a_client_answers_a_websocket_ping_and_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = SocketClient(listening.getsockname()[1])
        server, _ = listening.accept()
        with server:
            server.sendall(b"HTTP/1.1 101 Switching\r\n\r\n\x89\x02hi")
            client.receive()
            assert server.recv(65536).endswith(frame(b"hi", 0x8A))
        assert not client.closed
        client.close()


def test_a_refused_handshake_is_an_error_with_the_answer_in_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = SocketClient(listening.getsockname()[1])
        server, _ = listening.accept()
        with server:
            server.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            with pytest.raises(LoadError, match="403 Forbidden"):
                client.receive()
        client.close()


EVERYBODY = [
    "latchkey",
    "latchkey-sqlite",
    "latchkey-redis",
    "node",
    "node-redis",
    "bun",
    "bun-redis",
    "stock",
    "uvicorn",
]


@pytest.mark.parametrize("name", EVERYBODY)
def test_everybody_counts_pages_and_sockets_in_one_session_and_tells_the_others(
    start: Start, name: str
) -> None:
    """Else the bench would compare unequal work."""
    server = start(name)
    with Crowd[HttpClient]() as pages, Crowd[SocketClient]() as sockets:
        page = pages.add(HttpClient(server.port))
        pages.repeat(0)
        assert page.body == b"1"
        client, other = open_sockets(sockets, server.port, 2, [page.cookie])
        client.send(client.request)
        sockets.until(
            lambda: bool(client.last and other.last), "an ack, and an event for the other"
        )
        assert client.last == b"430[2]"
        assert other.last == b'42["current count",2]'
        pages.repeat(0)
        assert page.body == b"3"
        sockets.until(lambda: client.events == 1 and other.events == 2, "a page's change")
        assert client.last == other.last == b'42["current count",3]'


@pytest.mark.parametrize("name", ["latchkey", "node"])
def test_a_handshake_stores_its_session_before_the_cookie_leaves(start: Start, name: str) -> None:
    server = start(name)
    with Crowd[SocketClient]() as sockets, Crowd[HttpClient]() as pages:
        (client,) = open_sockets(sockets, server.port, 1)
        sockets.repeat(0)
        page = pages.add(HttpClient(server.port, cookie=client.cookie))
        pages.repeat(0)
        assert page.body == b"2"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_one_tiny_round_of_every_row_gives_figures(
    start: Start, servers: Servers, row: Row
) -> None:
    here = (
        "latchkey",
        "latchkey-limits",
        "latchkey-redis",
        "redis-2",
        "node",
        "node-redis",
        "stock",
    )
    names = [name for name in here if name in row.contestants]
    for name in names:
        start(name)
    result = run_row(row, names, servers, 1, TINY, lambda sentence: None)
    assert not result.absent | result.failed
    assert [*result.rounds] == names
    if row.figure == "cpu_us":  # what so few connections change elsewhere may round to nothing
        assert all(result.median(name) > 0 for name in names)


def test_a_server_that_cannot_start_is_absent_and_the_others_are_measured(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("stock")
    monkeypatch.setitem(LINEUP, "uvicorn", replace(LINEUP["uvicorn"], argv=("no-such-program",)))
    row = next(row for row in ROWS if row.key == "post")
    with Servers() as servers:
        result = run_row(row, ["uvicorn", "stock"], servers, 1, TINY, lambda sentence: None)
    assert result.absent == {"uvicorn": "no-such-program is not installed."}
    assert [*result.rounds] == ["stock"]
