"""What a move of all markets at once would ask of the account: ``core.whatif`` on the snapshot and the prices of now.

Holds what comes of it against the balance and the operator's limits, and the price feed against the exchange's marks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from dehedge.account import build_account, get_liquidations
from dehedge.check.account import Holdings
from dehedge.check.exchange import Rules
from dehedge.check.prices import Ticks
from dehedge.check.report import Line, build_pass, build_warning
from dehedge.check.run import Found
from dehedge.client import format_count
from dehedge.config import Settings
from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.decisions import NOT_WORTH_A_HEDGE, Reason
from dehedge.core.guards import AccountReading, GuardInputs, get_divergence_bps
from dehedge.core.model import ChainSnapshot, Observation
from dehedge.core.policy import HedgingPolicy, VenueState, build_terms
from dehedge.core.portfolio import build_portfolio
from dehedge.core.trigger import build_index, read_rows
from dehedge.core.usage import Usage
from dehedge.core.whatif import Outcome, Scene, foresee
from dehedge.core.wording import describe_reason
from dehedge.errors import ConnectorError
from dehedge.ports import Connector

MOVE_PERCENT = 10
TOLD_ELSEWHERE = NOT_WORTH_A_HEDGE | {Reason.MARGIN_EXHAUSTED, Reason.UNSUPPORTED_MARKET, Reason.OTHER_ASSET}
"""Of what gets no hedge: meant so, or the matter of another line."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that the daemon would decide from now. ``marks`` are by symbol."""

    snapshot: ChainSnapshot
    prices: Ticks
    marks: Mapping[str, Decimal]
    rules: Rules
    book: HedgeBook
    holdings: Holdings
    taken_at: float

    @property
    def observation(self) -> Observation:
        return Observation(self.snapshot, self.prices, self.marks, self.taken_at)


def foresee_move(world: World, policy: HedgingPolicy, settings: Settings, percent: int) -> Outcome:
    """What the daemon would do if every price moved by so many percent at once."""
    account = build_account(world.holdings.balances.values(), world.holdings.positions)
    reading = AccountReading(world.taken_at, world.taken_at, account.available, get_liquidations(account))
    # A pause is of now, and what would be asked of the account without it is the question.
    book = replace(world.book.copy(), mode=TradingMode.ACTIVE, is_flattening=False)
    inputs = GuardInputs(world.observation, book, VenueState(world.rules), Usage(), policy.leverage, reading)
    moves = {market: Decimal(percent) for market in world.prices}
    index = build_index(read_rows(world.snapshot.positions), build_terms(policy, world.snapshot))
    portfolio = build_portfolio(world.snapshot, policy) if policy.portfolio is not None else None
    return foresee(Scene(moves, inputs, settings.guard_limits, policy, index, account, portfolio))


async def fetch_marks(connector: Connector, rules: Rules) -> Mapping[str, Decimal]:
    """None for what the exchange does not tell."""
    try:
        found = await connector.fetch_mark_prices(list(rules))
    except ConnectorError:
        return {}
    return {symbol: mark.price for symbol, mark in found.items()}


def check_margin(world: World, policy: HedgingPolicy, settings: Settings) -> Found[None]:
    """Of the margin for the worse of both ways; and where price feed and exchange disagree now."""
    outcomes = {percent: foresee_move(world, policy, settings, percent) for percent in (MOVE_PERCENT, -MOVE_PERCENT)}
    way, worst = max(outcomes.items(), key=lambda found: (found[1].margin.short_usd or 0, found[1].margin.needed_usd))
    told = [
        *_judge_margin(worst, "up" if way > 0 else "down"),
        *_tell_held(outcomes.values()),
        *_tell_cut(outcomes.values()),
        *_tell_liquidated(outcomes.values()),
    ]
    return Found([*told, *_find_divergence(world, policy, settings)])


def _judge_margin(worst: Outcome, way: str) -> Iterator[Line]:
    name, margin = f"margin for a move of {MOVE_PERCENT} %", worst.margin
    if not margin.needed_usd:
        yield build_pass(name, "no hedge would be opened, whichever way")
        return
    lacking = sum(hold.reason is Reason.MARGIN_EXHAUSTED for hold in worst.held)
    hedges = f"{format_count(len(worst.opens) + lacking, 'hedge')} would be opened"
    detail = f"{way}, {hedges}: they need {margin.needed_usd:,.2f} of {margin.available_usd:,.2f} available"
    if margin.short_usd:
        remedy = f"add {margin.short_usd:,.2f} to the futures account, or raise LEVERAGE"
        yield build_warning(name, detail, remedy)
    else:
        yield build_pass(name, detail)


def _tell_held(outcomes: Iterable[Outcome]) -> Iterator[Line]:
    """What would get no hedge that ought to have one, in the worse way for each reason; want of margin has its own line."""
    reasons: Counter[Reason] = Counter()
    for outcome in outcomes:
        reasons |= Counter(hold.reason for hold in outcome.held)
    for reason, count in reasons.items():
        if reason in TOLD_ELSEWHERE:
            continue
        name, detail = (
            f"refused at a move of {MOVE_PERCENT} %",
            f"{format_count(count, 'hedge')}: {describe_reason(reason)}",
        )
        yield build_warning(name, detail, "raise that limit where it is not meant")


def _tell_cut(outcomes: Iterable[Outcome]) -> Iterator[Line]:
    """What a limit would leave of a hedge is less than its position asks for."""
    found = [[opening.trade.share for opening in outcome.opens] for outcome in outcomes]
    cut = max(sum(share.quantity < share.target for share in shares) for shares in found)
    if cut:
        detail = f"{format_count(cut, 'hedge')} would be smaller than asked for"
        yield build_warning(f"limits at a move of {MOVE_PERCENT} %", detail, "raise MAX_..._NOTIONAL_USD if not meant")


def _tell_liquidated(outcomes: Iterable[Outcome]) -> Iterator[Line]:
    """Positions of the account that the exchange would close, whichever way the prices go."""
    for found in [liquidated for outcome in outcomes for liquidated in outcome.liquidated]:
        held, price = found.holding, found.holding.liquidation_price
        detail = f"the exchange closes {held.quantity:f} {held.symbol} at {price:f}"
        yield build_warning(f"liquidation at a move of {MOVE_PERCENT} %", detail, "add margin, or lower LEVERAGE")


def _find_divergence(world: World, policy: HedgingPolicy, settings: Settings) -> list[Line]:
    """Prices so far from the exchange's marks that nothing would be opened on them."""
    lines = []
    for market, symbol in policy.symbols.items():
        if market not in world.prices or not world.marks.get(symbol):
            continue
        apart_bps = get_divergence_bps(world.observation, market, symbol)
        if apart_bps > settings.max_divergence_bps:
            detail = f"{float(apart_bps):.0f} bps from the mark of {symbol}: nothing is opened"
            remedy = "see whether the line in markets.toml is right; else wait, or raise MAX_DIVERGENCE_BPS"
            lines.append(build_warning(f"price of {market}", detail, remedy))
    return lines
