"""A report for the terminal, to the cent."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dehedge.client import show_trader
from dehedge.core.flows import Sums
from dehedge.core.report import HedgeReport, MarketReport, Report
from dehedge.reporting.rows import describe_others, round_bps, round_price, round_usd, show
from dehedge.reporting.spans import format_moment

MONEY = ("realized", "fees", "funding", "net", "slippage", "bps", "without it")
ENDING = (
    "net = realized + funding - fees, in USD. slippage: against the mark at the decision. without it: what the vault would have"
    " lost to the trader in that time without the hedge. Times are UTC."
)


def render_text(report: Report, *, is_wide: bool) -> RenderableType:
    """``is_wide`` where there is room for whole addresses."""
    if not report.markets:
        return Text(f"no hedges from {format_moment(report.since)} to {format_moment(report.until)} UTC")
    title = Text(f"{format_moment(report.since)} to {format_moment(report.until)} UTC")
    markets = _build_market_table(report)
    hedges = [_build_hedge_table(market, is_wide=is_wide) for market in report.markets]
    return Group(title, markets, *hedges, *_list_notes(report))


def _build_market_table(report: Report) -> Table:
    table = _build_table("market", "opened", "closed", "traded", *MONEY)
    for market in report.markets:
        table.add_row(market.market, *list_counts(market.sums), *list_money(market.sums))
    table.add_section()
    table.add_row("all", *list_counts(report.sums), *list_money(report.sums))
    return table


def _build_hedge_table(market: MarketReport, *, is_wide: bool) -> Table:
    table = _build_table("position", "side", "opened", "why", "closed", "why", "quantity", "in", "out", *MONEY)
    table.title = market.market
    table.title_justify = "left"
    for hedge in market.hedges:
        life = hedge.life
        closed = life.closed_at is not None
        table.add_row(
            show_trader(life.key.position_id, is_wide=is_wide), life.side.value, format_moment(life.opened_at), life.fills[0].reason,
            format_moment(life.closed_at) if life.closed_at is not None else _describe_standing(hedge),
            life.fills[-1].reason if closed else "", show(hedge.quantity), round_price(hedge.price_in),
            round_price(hedge.price_out), *list_money(hedge.sums),
        )  # fmt: skip
    return table


def _build_table(*columns: str) -> Table:
    table = Table(*columns)
    for column in table.columns:
        if column.header in (*MONEY, "quantity", "in", "out", "opened", "closed", "traded"):
            column.justify = "right"
    return table


def _describe_standing(hedge: HedgeReport) -> str:
    if hedge.standing is None:
        return "open"
    price, gain = round_price(hedge.standing.seen.price), round_usd(hedge.standing.unrealized_usd)
    return f"open: {gain} at {price}"


def list_counts(sums: Sums) -> list[str]:
    return [str(int(sums.opened)), str(int(sums.closed)), round_usd(sums.traded_usd)]


def list_money(sums: Sums) -> list[str]:
    amounts = (sums.realized_usd, sums.fees_usd, sums.funding_usd, sums.net_usd, sums.slippage_usd)
    return [*map(round_usd, amounts), round_bps(sums.slippage_bps), round_usd(sums.trader_gain_usd)]


def _list_notes(report: Report) -> list[Text]:
    return [Text(note) for note in list_notes(report)]


def list_notes(report: Report) -> list[str]:
    """What the figures do not contain, and how they are to be read."""
    notes = []
    others = describe_others(report.sums.fees)
    if others:
        notes.append(f"fees beside those in dollars: {others}")
    funding = describe_others(report.sums.funding)
    if funding:
        notes.append(f"funding beside that in dollars: {funding}")
    foreign = ", ".join(f"{show(amount)} {asset}" for asset, amount in report.foreign_funding.items() if amount)
    if foreign:
        notes.append(f"funding that is not our hedges', in no sum: {foreign}")
    if report.sums.estimates:
        notes.append(f"fills without a price from the exchange, estimated: {int(report.sums.estimates)}")
    return [*notes, ENDING]
