"""``dehedge status --watch``: the running daemon as a table that follows it, once a second, until Ctrl-C.

Asks over HTTP like every command, and changes nothing. What is old is marked as old: a price, the chain, or the whole
picture while nobody answers; then it goes on asking. Called by ``cli``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from dehedge.client import (
    describe_daemon,
    describe_guard,
    fetch_answer,
    format_count,
    format_fees,
    format_money,
    format_time,
    format_usd,
    get_base,
    print_status,
    show_trader,
)
from dehedge.errors import DehedgeError

INTERVAL_S = 1.0
ANSWER_S = 2.0
HEDGES_MAX = 200
"""More than a screen has lines."""
WIDE_COLUMNS = 120
"""A screen with room for every figure of a hedge."""
FRAME_LINES = 16
"""What of the screen is kept for everything but hedges, markets and obstacles."""
HEDGES_MIN = 3

_WORDS = {"market", "trader", "side", "status"}
_WIDE_ALONE = {"wanted", "fees", "funding"}


@dataclass(slots=True)
class Watch:
    """What was last seen of the daemon, and since when it is not to be seen. Times are seconds since the epoch."""

    url: str
    status: Mapping[str, Any] | None = None
    held: Mapping[str, Any] = field(default_factory=lambda: {"hedges": [], "total": 0, "markets": {}})
    seen_at: float = 0.0
    error: str = ""

    def look(self) -> None:
        """Ask once; where nobody answers, the last answer stays."""
        try:
            status = fetch_answer(self.url, "status", timeout_s=ANSWER_S)
            held = fetch_answer(self.url, "hedges", {"limit": str(HEDGES_MAX)}, timeout_s=ANSWER_S)
        except DehedgeError as error:
            self.error = str(error)
        else:
            self.status, self.held, self.error, self.seen_at = status, held, "", time.time()


def watch_status(url: str) -> int:
    """Follow until Ctrl-C, which is a good end; where there is no terminal, tell once."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        return print_status(url, use_json=False)
    get_base(url)  # A mistake in the address does not pass by itself.
    watch = Watch(url)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                watch.look()
                live.update(build_view(watch, time.time(), console.size), refresh=True)
                time.sleep(INTERVAL_S)
    except KeyboardInterrupt:
        return 0


def build_view(watch: Watch, now: float, size: ConsoleDimensions) -> RenderableType:
    """The whole picture, for a screen of this size."""
    footer = Text("Ctrl-C ends this and not the daemon", style="dim")
    if watch.status is None:
        return Group(Text(f"{watch.error or 'asking'}; trying again", style="red"), footer)
    taken = sum(len(watch.status[name]) for name in ("prices", "reasons"))
    rows = max(size.height - FRAME_LINES - taken, HEDGES_MIN)
    picture = Group(
        *_build_head(watch.status, now),
        _build_markets(watch, now),
        *_build_hedges(watch.held, now, size._replace(height=rows)),
        _build_decisions(watch.status),
    )
    if not watch.error:
        return Group(picture, footer)
    lost = f"STALE: no answer since {format_time(watch.seen_at)} ({now - watch.seen_at:.0f} s): {watch.error}; trying again"
    return Group(Text(lost, style="bold red"), Styled(picture, "dim"), footer)


def _build_head(status: Mapping[str, Any], now: float) -> Iterator[Text]:
    state = ("ready", "bold green") if status["ready"] else ("NOT READY", "bold red")
    mode = (status["mode"], "" if status["mode"] == "active" else "bold yellow")
    yield Text.assemble(f"{describe_daemon(status)}: ", state, ", mode ", mode)
    for reason in status["reasons"]:
        yield Text.assemble(("  - ", "red"), reason)
    for warning in status.get("warnings", []):
        yield Text.assemble(("  ! ", "yellow"), warning)
    for guard in status.get("guards", []):
        if guard["held"]:
            yield Text.assemble(("  - ", "yellow"), describe_guard(guard))
    yield _build_chain(status, now)
    if status.get("portfolio") is not None:
        yield Text(status["portfolio"]["text"])


def _build_chain(status: Mapping[str, Any], now: float) -> Text:
    snapshot = status["snapshot"]
    if snapshot is None:
        return Text("chain: no snapshot yet", style="red")
    age = _build_age(now - snapshot["block_time"], status["limits"]["max_snapshot_age_s"])
    counts = f"{format_count(snapshot['positions'], 'position')}, vault {format_usd(snapshot['vault'])} USDC, shield {format_usd(snapshot['shield'])} USDC"
    return Text.assemble(f"block {snapshot['block_number']}, ", age, f": {counts}")


def _build_markets(watch: Watch, now: float) -> Table:
    """Each market's price, and what is held in it."""
    assert watch.status is not None, "asked for once there is a picture"
    table = Table("market", "price", "age", expand=True)
    for name in ("hedges", "long", "short", "net USD"):
        table.add_column(name, justify="right")
    prices, limit_s = watch.status["prices"], watch.status["limits"]["max_price_age_s"]
    for market in sorted({*prices, *watch.held["markets"]}):
        price = prices.get(market)
        table.add_row(market, *_describe_price(price, now, limit_s), *_describe_exposure(watch, market, price))
    return table


def _describe_price(price: Mapping[str, Any] | None, now: float, limit_s: float) -> tuple[str, Text]:
    if price is None:
        return "-", Text("none", style="red")
    return str(price["price"]), _build_age(now - price["publish_time"], limit_s)


def _describe_exposure(watch: Watch, market: str, price: Mapping[str, Any] | None) -> tuple[str, ...]:
    """How many hedges, what they are in long, short and net."""
    held = watch.held["markets"].get(market, {"hedges": 0, "long": "0", "short": "0"})
    coins = Decimal(held["long"]) - Decimal(held["short"])
    net = f"{coins * Decimal(price['price']):,.0f}" if price is not None else "-"
    return str(held["hedges"]), held["long"], held["short"], net


def _build_hedges(held: Mapping[str, Any], now: float, room: ConsoleDimensions) -> Iterator[RenderableType]:
    """As many as there is room for, the newest first; a narrow screen shows of the money the profit alone."""
    hedges = held["hedges"][: room.height]
    if not hedges:
        yield Text("no hedges")
        return
    rows = [_describe_hedge(hedge, now) for hedge in hedges]
    names = [name for name in rows[0] if room.width >= WIDE_COLUMNS or name not in _WIDE_ALONE]
    table = Table(expand=True, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in _WORDS else "right")
    for row in rows:
        table.add_row(*(row[name] for name in names))
    yield table
    if held["total"] > len(hedges):
        yield Text(f"and {held['total'] - len(hedges)} more: `dehedge hedges`", style="dim")


def _describe_hedge(hedge: Mapping[str, Any], now: float) -> Mapping[str, str]:
    """By column."""
    closes_at = hedge.get("closes_at")
    return {
        "market": hedge["market"],
        "trader": show_trader(hedge["position_id"], is_wide=False),
        "side": hedge["side"],
        "held": hedge["quantity"],
        "wanted": hedge["target"],
        "status": hedge["status"],
        "open": _format_age(now - hedge["opened_at"]),
        "closes": f"in {_format_age(closes_at - now)}" if closes_at else "",
        "profit": format_money(hedge["profit_usd"]),
        "fees": format_fees(hedge),
        "funding": format_money(hedge["funding_usd"]),
    }


def _build_decisions(status: Mapping[str, Any]) -> Text:
    decisions = ", ".join(f"{count} {reason}" for reason, count in sorted(status["decisions"].items()))
    flying = format_count(len(status["orders_in_flight"]), "order")
    return Text(f"{format_count(status['hedges'], 'hedge')}, {flying} in flight; {decisions or 'nothing decided yet'}")


def _build_age(age_s: float, stale_s: float) -> Text:
    return Text(f"{_format_age(age_s)} STALE", style="bold red") if age_s > stale_s else Text(_format_age(age_s))


def _format_age(age_s: float) -> str:
    """Short: the largest unit alone."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= 2 * length_s:
            return f"{age_s / length_s:.0f} {unit}"
    return f"{max(age_s, 0):.0f} s"
