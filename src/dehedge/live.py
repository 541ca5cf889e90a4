"""``dehedge status --watch``: the running daemon as a table that follows it, once a second, until Ctrl-C.

Asks over HTTP like every command, and changes nothing. What is old is marked as old: a price, the chain, or the whole
picture while nobody answers; then it goes on asking. Called by ``cli``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from dehedge.client import describe_guard, fetch_answer, format_count, format_time, get_base, print_status
from dehedge.errors import DehedgeError

INTERVAL_S = 1.0
ANSWER_S = 2.0
PRICE_STALE_S, CHAIN_STALE_S = 10.0, 30.0
"""What the daemon takes for stale by default; its own limits are in its obstacles."""
FRAME_LINES = 16
"""What of the screen is kept for everything but hedges, markets and obstacles."""
HEDGES_MIN = 3


@dataclass(slots=True)
class Watch:
    """What was last seen of the daemon, and since when it is not to be seen. Times are seconds since the epoch."""

    url: str
    status: Mapping[str, Any] | None = None
    hedges: Sequence[Mapping[str, Any]] = field(default_factory=list)
    seen_at: float = 0.0
    error: str = ""

    def look(self) -> None:
        """Ask once; where nobody answers, the last answer stays."""
        try:
            status = fetch_answer(self.url, "status", timeout_s=ANSWER_S)
            hedges = fetch_answer(self.url, "hedges", timeout_s=ANSWER_S)["hedges"]
        except DehedgeError as error:
            self.error = str(error)
        else:
            self.status, self.hedges, self.error, self.seen_at = status, hedges, "", time.time()


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
                live.update(build_view(watch, time.time(), console.height), refresh=True)
                time.sleep(INTERVAL_S)
    except KeyboardInterrupt:
        return 0


def build_view(watch: Watch, now: float, height: int) -> RenderableType:
    """The whole picture; ``height`` is how many lines there are for it."""
    footer = Text("Ctrl-C ends this and not the daemon", style="dim")
    if watch.status is None:
        return Group(Text(f"{watch.error or 'asking'}; trying again", style="red"), footer)
    taken = sum(len(watch.status[name]) for name in ("prices", "reasons"))
    rows = max(height - FRAME_LINES - taken, HEDGES_MIN)
    picture = Group(
        *_build_head(watch.status, now),
        _build_markets(watch, now),
        *_build_hedges(watch.hedges, now, rows),
        _build_decisions(watch.status),
    )
    if not watch.error:
        return Group(picture, footer)
    lost = f"STALE: no answer since {format_time(watch.seen_at)} ({now - watch.seen_at:.0f} s): {watch.error}; trying again"
    return Group(Text(lost, style="bold red"), Styled(picture, "dim"), footer)


def _build_head(status: Mapping[str, Any], now: float) -> Iterator[Text]:
    state = ("ready", "bold green") if status["ready"] else ("NOT READY", "bold red")
    paper = " (PAPER)" if status["connector"] == "paper" else ""
    mode = (status["mode"], "" if status["mode"] == "active" else "bold yellow")
    yield Text.assemble(f"dehedge {status['version']} on {status['connector']}{paper}: ", state, ", mode ", mode)
    for reason in status["reasons"]:
        yield Text.assemble(("  - ", "red"), reason)
    for warning in status.get("warnings", []):
        yield Text.assemble(("  ! ", "yellow"), warning)
    for guard in status.get("guards", []):
        if guard["held"]:
            yield Text.assemble(("  - ", "yellow"), describe_guard(guard))
    yield _build_chain(status["snapshot"], now)


def _build_chain(snapshot: Mapping[str, Any] | None, now: float) -> Text:
    if snapshot is None:
        return Text("chain: no snapshot yet", style="red")
    age = _build_age(now - snapshot["block_time"], CHAIN_STALE_S)
    counts = f"{format_count(snapshot['positions'], 'position')}, vault {snapshot['vault']} USDC, shield {snapshot['shield']} USDC"
    return Text.assemble(f"block {snapshot['block_number']}, ", age, f": {counts}")


def _build_markets(watch: Watch, now: float) -> Table:
    """Each market's price, and what is held in it."""
    assert watch.status is not None, "asked for once there is a picture"
    table = Table("market", "price", "age", expand=True)
    for name in ("hedges", "long", "short", "net USD"):
        table.add_column(name, justify="right")
    prices = watch.status["prices"]
    for market in sorted({*prices, *(hedge["market"] for hedge in watch.hedges)}):
        table.add_row(market, *_describe_price(prices.get(market), now), *_describe_exposure(watch, market))
    return table


def _describe_price(price: Mapping[str, Any] | None, now: float) -> tuple[str, Text]:
    if price is None:
        return "-", Text("none", style="red")
    return str(price["price"]), _build_age(now - price["publish_time"], PRICE_STALE_S)


def _describe_exposure(watch: Watch, market: str) -> tuple[str, ...]:
    """How many hedges, what they are in long, short and net."""
    assert watch.status is not None, "asked for once there is a picture"
    held = [hedge for hedge in watch.hedges if hedge["market"] == market]
    price = watch.status["prices"].get(market)
    long, short = (
        sum((Decimal(hedge["quantity"]) for hedge in held if hedge["side"] == side), Decimal(0))
        for side in ("BUY", "SELL")
    )
    net = f"{(long - short) * Decimal(price['price']):,.0f}" if price is not None else "-"
    return str(len(held)), f"{long:f}", f"{short:f}", net


def _build_hedges(hedges: Sequence[Mapping[str, Any]], now: float, rows: int) -> Iterator[RenderableType]:
    """As many as there is room for, the newest first."""
    if not hedges:
        yield Text("no hedges")
        return
    table = Table("market", "trader", "side", expand=True)
    for name in ("held", "wanted"):
        table.add_column(name, justify="right")
    table.add_column("status")
    for name in ("open", "closes"):
        table.add_column(name, justify="right")
    newest = sorted(hedges, key=lambda hedge: -hedge["opened_at"])
    for hedge in newest[:rows]:
        table.add_row(*_describe_hedge(hedge, now))
    yield table
    if len(newest) > rows:
        yield Text(f"and {len(newest) - rows} more: `dehedge hedges`", style="dim")


def _describe_hedge(hedge: Mapping[str, Any], now: float) -> tuple[str, ...]:
    trader, closes_at = hedge["position_id"].partition("|")[0], hedge.get("closes_at")
    return (
        hedge["market"],
        f"{trader[:6]}…{trader[-4:]}",
        hedge["side"],
        hedge["quantity"],
        hedge["target"],
        hedge["status"],
        _format_age(now - hedge["opened_at"]),
        f"in {_format_age(closes_at - now)}" if closes_at else "",
    )


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
