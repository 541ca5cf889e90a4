"""The table that follows the daemon: what it shows in 80 columns, what it marks as stale, and how it ends."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from dehedge import live
from dehedge.errors import DehedgeError
from dehedge.live import Watch, build_view, watch_status
from tests.terminal import Terminal

NOW = 1_800_000_100.0
STATUS: Mapping[str, Any] = {
    "version": "1.2.3", "connector": "paper", "account": "paper", "endpoint": "", "ready": True, "reasons": [], "warnings": [], "guards": [], "mode": "active",
    "snapshot": {"block_number": 23_456_789, "block_time": NOW - 2, "positions": 12_345, "vault": "1234567.891234", "shield": "50.5"},
    "prices": {"BTC-USD": {"price": "60000.5", "publish_time": NOW - 1}, "ETH-USD": {"price": "3000", "publish_time": NOW - 12}},
    "decisions": {"not at risk": 12_000, "at risk": 2}, "hedges": 2, "orders_in_flight": [{}], "deployment": "1f5u68k2c",
    "foreign_positions": {}, "limits": {"max_price_age_s": 10, "max_snapshot_age_s": 30},
}  # fmt: skip


def a_hedge(market: str = "BTC-USD", side: str = "BUY", **changes: Any) -> Mapping[str, Any]:
    return {
        "market": market, "position_id": f"0x{'ab' * 20}|0x{'cd' * 20}", "side": side, "quantity": "0.500", "target": "0.750",
        "status": "OPEN", "opened_at": NOW - 4_000, "closes_at": None, "reason": "profit_limit",
        "profit_usd": "-1234.567", "fees_usd": "2.5", "other_fees": {}, "funding_usd": "0.1", **changes,
    }  # fmt: skip


def an_answer(*hedges: Mapping[str, Any], total: int | None = None) -> Mapping[str, Any]:
    """As the daemon has it: sums of all, and the newest first."""
    markets = {
        market: {"hedges": 1, "long": "0.500", "short": "0"} if market == "BTC-USD" else {"hedges": 1, "long": "0", "short": "2"}
        for market in sorted({hedge["market"] for hedge in hedges})
    }
    newest = sorted(hedges, key=lambda hedge: -hedge["opened_at"])
    return {"hedges": newest, "total": len(hedges) if total is None else total, "markets": markets}


def show(watch: Watch, *, now: float = NOW, height: int = 40, columns: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, height=height, highlight=False, markup=False)
    console.print(build_view(watch, now, console.size))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def find(lines: list[str], words: str) -> list[str]:
    """The cells of the only line with these words."""
    (line,) = (line for line in lines if words in line)
    return [cell.strip() for cell in line.replace("│", "|").strip("| ").split("|")]


@pytest.fixture
def watch() -> Watch:
    hedges = [a_hedge(), a_hedge("ETH-USD", "SELL", quantity="2", target="2", closes_at=NOW + 30, opened_at=NOW - 50)]
    return Watch("", STATUS, an_answer(*hedges), seen_at=NOW)


def test_picture_fits_80_columns_and_cuts_nothing(watch: Watch):
    lines = show(watch)

    assert max(map(len, lines)) <= 80
    assert lines[0] == "dehedge 1.2.3 on paper (PAPER): ready, mode active"
    assert lines[1].startswith("block 23456789, 2 s: 12345 positions, vault 1,234,567.89 USDC, shield 50.50")
    assert find(lines, "60000.5") == ["BTC-USD", "60000.5", "1 s", "1", "0.500", "0", "30,000"]
    rows = [line for line in lines if "0xabab…abab" in line]
    assert [find([row], "…") for row in rows] == [
        ["ETH-USD", "0xabab…abab", "SELL", "2", "OPEN", "50 s", "in 30 s", "-1,234.57"],
        ["BTC-USD", "0xabab…abab", "BUY", "0.500", "OPEN", "67 min", "", "-1,234.57"],
    ]
    assert "2 hedges, 1 order in flight; 2 at risk, 12000 not at risk" in lines


def test_wide_screen_shows_every_figure_of_a_hedge(watch: Watch):
    watch.held = an_answer(a_hedge(), a_hedge("ETH-USD", profit_usd=None, fees_usd=None, funding_usd=None))

    known, unknown = (find([line], "…") for line in show(watch, columns=120) if "0xabab…abab" in line)

    assert known == ["BTC-USD", "0xabab…abab", "BUY", "0.500", "0.750", "OPEN", "67 min", "", "-1,234.57", "2.50", "+0.10"]
    assert [cell for cell in unknown if cell][-1] == "67 min"


def test_limits_are_those_of_the_daemon(watch: Watch):
    watch.status = {**STATUS, "limits": {"max_price_age_s": 12, "max_snapshot_age_s": 1}}

    lines = show(watch)

    assert find(lines, "3000 ")[2] == "12 s"
    assert lines[1].startswith("block 23456789, 2 s STALE: ")


def test_old_price_and_old_block_are_marked(watch: Watch):
    assert find(show(watch), "STALE") == ["ETH-USD", "3000", "12 s STALE", "1", "0", "2", "-6,000"]

    later = show(watch, now=NOW + 31)
    assert sum("STALE" in line for line in later) == 3
    assert later[1].startswith("block 23456789, 33 s STALE: ")


def test_obstacles_warnings_and_guards_are_told_whole(watch: Watch):
    guard = {"guard": "fee_limit", "variable": "MAX_FEES_USD_PER_HOUR", "scope": "all", "used": "9", "limit": "10", "held": 2}
    watch.status = {**STATUS, "ready": False, "mode": "halted", "reasons": ["chain: [red] " + "x" * 100], "warnings": ["two"], "guards": [guard]}  # fmt: skip

    lines = show(watch)

    assert lines[0] == "dehedge 1.2.3 on paper (PAPER): NOT READY, mode halted"
    assert "".join(lines[1:4]).replace(" ", "").startswith("-chain:[red]" + "x" * 100)
    assert "  ! two" in lines
    assert any(line.startswith("  - fee_limit holds 2 opens or increases") for line in lines)


def test_hedges_beyond_the_screen_are_counted(watch: Watch):
    watch.held = an_answer(*(a_hedge(opened_at=NOW - age) for age in range(200)), total=500)

    lines = show(watch, height=30)

    assert len(lines) <= 30
    assert "and 488 more: `dehedge hedges`" in lines


def test_picture_is_marked_whole_while_nobody_answers(watch: Watch):
    watch.error = "no daemon answers at http://127.0.0.1:1 (ConnectError)"

    lines = show(watch, now=NOW + 7, columns=160)

    assert lines[0].startswith("STALE: no answer since 2027-01-15 08:01:40 UTC (7 s): no daemon answers at http://127.0.0.1:1")
    assert lines[0].endswith("trying again")
    assert any("60000.5" in line for line in lines)


def test_picture_says_what_is_missing_before_anything_is_known(watch: Watch):
    assert "asking; trying again" in show(Watch(""))
    watch.status, watch.held = {**STATUS, "snapshot": None, "prices": {}, "decisions": {}}, an_answer(a_hedge())

    lines = show(watch)

    assert "chain: no snapshot yet" in lines
    assert find(lines, "none") == ["BTC-USD", "-", "none", "1", "0.500", "0", "-"]
    assert "2 hedges, 1 order in flight; nothing decided yet" in lines


def test_status_is_told_once_when_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(live, "print_status", lambda url, *, use_json: asked.append(url) or 1)

    assert watch_status("http://127.0.0.1:1") == 1
    assert asked == ["http://127.0.0.1:1"]


def test_mistake_in_the_address_is_told_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "Console", lambda **_: Console(file=io.StringIO(), force_terminal=True))

    with pytest.raises(DehedgeError, match="--url: begin with http"):
        watch_status("127.0.0.1:1")


class StandIn:
    """Answers as the daemon does, and can go away."""

    def __init__(self) -> None:
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def up(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/status", self._answer_status)
        app.router.add_get("/api/v1/hedges", self._answer_hedges)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer_status(self, _: web.Request) -> web.Response:
        return web.json_response(STATUS)

    async def _answer_hedges(self, _: web.Request) -> web.Response:
        return web.json_response(an_answer(a_hedge()))


@pytest.fixture
async def daemon() -> AsyncIterator[StandIn]:
    daemon = StandIn()
    await daemon.up()
    yield daemon
    await daemon.down()


@pytest.mark.timeout(200)
async def test_watch_goes_on_when_the_daemon_goes_away_and_ends_by_interrupt(daemon: StandIn, tmp_path: Path):
    terminal = Terminal(tmp_path, {"HTTP_PORT": str(daemon.port)})
    try:
        await terminal.start("status", "--watch")
        await terminal.wait_for("dehedge 1.2.3 on paper (PAPER)")
        await terminal.wait_for("60000.5")
        await daemon.down()
        await terminal.wait_for("STALE: no answer since")
        await daemon.up()
        await terminal.wait_for("dehedge 1.2.3 on paper (PAPER)")
        await terminal.wait_for("60000.5")
        terminal.type("\x03")

        assert await terminal.wait() == 0
        assert "Traceback" not in terminal.shown
        assert terminal.shown.rstrip().endswith("\x1b[?25h") or "\x1b[?1049l" in terminal.shown
    finally:
        await terminal.close()
