"""What a move of all markets at once would ask of the account: the daemon's own decisions at prices that are not yet.

``foresee_margin`` decides as a pass of the daemon would, on the snapshot and the prices of now moved by some percent; it does
no IO. The rest holds it against the balance, and the price feed against the exchange's marks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from dehedge.check.account import Balances
from dehedge.check.exchange import Rules
from dehedge.check.prices import Ticks
from dehedge.check.report import Line, build_pass, build_warning
from dehedge.check.run import Found
from dehedge.client import format_count
from dehedge.config import Settings
from dehedge.core.agenda import Agenda
from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.decisions import OpenHedge
from dehedge.core.guards import get_divergence_bps
from dehedge.core.hedging import plan
from dehedge.core.model import ChainSnapshot, Observation
from dehedge.core.policy import HedgingPolicy, VenueState, build_terms
from dehedge.core.trigger import build_index, read_rows
from dehedge.errors import ConnectorError
from dehedge.ports import Connector

MOVE_PERCENT = 10


@dataclass(frozen=True, slots=True)
class World:
    """Everything that the daemon would decide from now. ``marks`` are by symbol."""

    snapshot: ChainSnapshot
    prices: Ticks
    marks: Mapping[str, Decimal]
    rules: Rules
    book: HedgeBook
    taken_at: float


class Need(NamedTuple):
    """What a move by so many percent asks for: hedges to open, their notional, and their margin by asset."""

    percent: int
    hedges: int
    notional_usd: Decimal
    margin: Mapping[str, Decimal]


def foresee_margin(world: World, policy: HedgingPolicy, percent: int) -> Need:
    """The initial margin of the hedges that would open, fees and the operator's limits left out."""
    observation = move(world, percent)
    index = build_index(read_rows(world.snapshot.positions), build_terms(policy, world.snapshot))
    keys = Agenda().take(index, observation, world.book.get_all_hedged_positions()).keys
    # A pause is of now, and what would be asked of the account without it is the question.
    book = replace(world.book.copy(), mode=TradingMode.ACTIVE, is_flattening=False)
    decisions = plan(observation, book, policy, VenueState(world.rules), keys)
    opens = [decision for decision in decisions if isinstance(decision, OpenHedge)]
    margin: defaultdict[str, Decimal] = defaultdict(Decimal)
    total = Decimal(0)
    for trade in opens:
        notional = trade.share.target * observation.marks[trade.symbol]
        margin[world.rules[trade.symbol].margin_asset] += notional / policy.leverage
        total += notional
    return Need(percent, len(opens), total, margin)


def move(world: World, percent: int) -> Observation:
    """The world as it would be seen after every price had moved."""
    prices = {name: tick._replace(price=tick.price * (100 + percent) // 100) for name, tick in world.prices.items()}
    marks = {symbol: mark * (100 + percent) / 100 for symbol, mark in world.marks.items()}
    return Observation(world.snapshot, prices, marks, world.taken_at)


async def fetch_marks(connector: Connector, rules: Rules) -> Mapping[str, Decimal]:
    """None for what the exchange does not tell."""
    try:
        found = await connector.fetch_mark_prices(list(rules))
    except ConnectorError:
        return {}
    return {symbol: mark.price for symbol, mark in found.items()}


def check_margin(world: World, policy: HedgingPolicy, settings: Settings, balances: Balances) -> Found[None]:
    """For the worse of both ways; and where price feed and exchange disagree now."""
    needs = [foresee_margin(world, policy, percent) for percent in (MOVE_PERCENT, -MOVE_PERCENT)]
    worst = max(needs, key=lambda need: need.notional_usd)
    return Found([_judge_margin(worst, settings, balances), *_find_divergence(world, policy, settings)])


def _judge_margin(need: Need, settings: Settings, balances: Balances) -> Line:
    name = f"margin for a move of {MOVE_PERCENT} %"
    if not need.hedges:
        return build_pass(name, "no hedge would be opened, whichever way")
    kept = settings.min_free_margin_usd or Decimal(0)
    available = {
        asset: (balances[asset].available if asset in balances else Decimal(0)) - kept for asset in need.margin
    }
    short = {asset: amount - available[asset] for asset, amount in need.margin.items() if amount > available[asset]}
    told = ", ".join(
        f"{amount:,.2f} {asset} of {available[asset]:,.2f} available" for asset, amount in need.margin.items()
    )
    way = "up" if need.percent > 0 else "down"
    detail = f"{way}, {format_count(need.hedges, 'hedge')} of {need.notional_usd:,.0f} USD would take {told}"
    if not short:
        return build_pass(name, detail)
    lacking = ", ".join(f"{amount:,.2f} {asset}" for asset, amount in short.items())
    return build_warning(name, detail, f"add {lacking} to the futures account, or raise LEVERAGE")


def _find_divergence(world: World, policy: HedgingPolicy, settings: Settings) -> list[Line]:
    """Prices so far from the exchange's marks that nothing would be opened on them."""
    observation, lines = move(world, 0), []
    for market, symbol in policy.symbols.items():
        if market not in world.prices or not world.marks.get(symbol):
            continue
        apart_bps = get_divergence_bps(observation, market, symbol)
        if apart_bps > settings.max_divergence_bps:
            detail = f"{float(apart_bps):.0f} bps from the mark of {symbol}: nothing is opened"
            remedy = "see whether the line in markets.toml is right; else wait, or raise MAX_DIVERGENCE_BPS"
            lines.append(build_warning(f"price of {market}", detail, remedy))
    return lines
