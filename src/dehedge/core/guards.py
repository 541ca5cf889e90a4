"""The operator's limits on adding exposure: an open or an increase that one of them forbids becomes a ``Hold``.

Rules of this file. Nothing here holds a close or a reduction, ever. A limit on notional counts what is held, what is in
flight and what this pass has let through already. It counts hedges of both sides added together: a close is never held,
so a limit on the net of both could be passed by closing one side.

The positions that cost the vault most come first, and the last one that still fits is filled up to the limit on the
exchange's step. Pure, like the planner; called by the engine's ``guards`` once a pass is planned.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from dehedge.core.audit import LegKey
from dehedge.core.batching import build_drafts
from dehedge.core.book import HedgeBook, check_on_leg
from dehedge.core.decisions import Decision, Hold, OpenHedge, Reason, ResizeHedge
from dehedge.core.hedging import get_price
from dehedge.core.model import PRICE_SCALE, HedgeKey, Observation, Side, TradingRules
from dehedge.core.orders import Action
from dehedge.core.policy import VenueState
from dehedge.core.sizing import check_large_enough, floor_to_step
from dehedge.core.usage import Usage

BPS = 10_000
ACCOUNT_AGE_MAX_S = 30.0
"""An older reading of the account says nothing of its margin."""
CRUMB = Decimal("0.1")
"""A hedge that is held grows by this share of what it lacks at least: at the limit each tick of the mark would make room."""
ZERO, ONE = Decimal(0), Decimal(1)

Increase = OpenHedge | ResizeHedge
"""What adds exposure; a ``ResizeHedge`` may also reduce it, and then is none."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """The operator's limits; None sets no limit. Amounts are in USD, bps are of the mark price."""

    order_notional_usd: Decimal | None = None
    market_notional_usd: Decimal | None = None
    total_notional_usd: Decimal | None = None
    orders_per_minute: int = 300
    divergence_bps: int = 500
    free_margin_usd: Decimal | None = None
    liquidation_distance_bps: int | None = None
    fees_usd_per_hour: Decimal | None = None
    taker_fee_bps: Decimal = Decimal(5)
    opens_per_hour: int = 12
    forced_per_hour: int = 3

    @property
    def fee_rate(self) -> Decimal:
        return self.taker_fee_bps / BPS

    @property
    def needs_notionals(self) -> bool:
        return self.market_notional_usd is not None or self.total_notional_usd is not None

    @property
    def needs_account(self) -> bool:
        return self.free_margin_usd is not None or self.liquidation_distance_bps is not None


@dataclass(frozen=True, slots=True)
class Liquidation:
    """At which mark price the exchange closes a leg, and whether the leg is long."""

    is_long: bool
    price: Decimal

    def get_distance_bps(self, mark: Decimal) -> Decimal:
        """How far the mark is from there; below 0 once it is beyond."""
        distance = mark - self.price if self.is_long else self.price - mark
        return distance * BPS / mark


@dataclass(frozen=True, slots=True)
class AccountReading:
    """What the account says of its margin, read from ``read_at`` on.

    ``available`` is by asset. What we meant to add from ``settled_until`` on may not be part of it yet.
    """

    read_at: float
    settled_until: float
    available: Mapping[str, Decimal]
    liquidations: Mapping[LegKey, Liquidation]


@dataclass(frozen=True, slots=True)
class GuardInputs:
    """What the guards look at besides the decisions; ``usage`` has been advanced to the observation's time."""

    observation: Observation
    book: HedgeBook
    venue: VenueState
    usage: Usage
    leverage: int
    account: AccountReading | None = None


@dataclass(slots=True)
class Budget:
    """What is left of one limit, and what a dollar of notional takes of it."""

    reason: Reason
    left: Decimal
    cost: Decimal = ONE

    def get_room(self) -> Fraction:
        """The notional that still fits."""
        return max(Fraction(self.left), Fraction(0)) / Fraction(self.cost)


def apply_guards(decisions: Sequence[Decision], inputs: GuardInputs, limits: GuardLimits) -> list[Decision]:
    """The decisions as the limits leave them: the same keys in the same order."""
    increases = sorted(iterate_increases(decisions), key=rank_by_loss)
    if not increases:
        return list(decisions)
    judge = _Judge(inputs, limits)
    verdicts = {trade.key: judge.judge(trade) for trade in increases}
    kept = [verdict for verdict in verdicts.values() if not isinstance(verdict, Hold)]
    for trade in kept[judge.count_affordable(kept) :]:
        verdicts[trade.key] = Hold(trade.key, Reason.ORDER_RATE_LIMIT, trade.assessment)
    return [verdicts.get(decision.key, decision) for decision in decisions]


def iterate_increases(decisions: Iterable[Decision]) -> Iterator[Increase]:
    """The decisions that add exposure."""
    for decision in decisions:
        if isinstance(decision, OpenHedge | ResizeHedge) and decision.action is Action.INCREASE:
            yield decision


def rank_by_loss(trade: Increase) -> tuple[int, HedgeKey]:
    """The largest loss of the vault first."""
    assessment = trade.assessment
    return (-assessment.pnl_numerator // assessment.pnl_denominator if assessment is not None else 0), trade.key


class _Judge:
    """Judges the increases of one pass, one after the other; each that is let through leaves less for the next."""

    def __init__(self, inputs: GuardInputs, limits: GuardLimits) -> None:
        self._inputs = inputs
        self._limits = limits
        self._order_max = get_increase_max(inputs, limits)
        self._obstacles: dict[tuple[str, str, Side], Reason | None] = {}
        self._notionals = get_notionals(inputs) if limits.needs_notionals else {}
        self._shared = list(self._build_shared_budgets())
        self._own: dict[str, list[Budget]] = {}
        self._by_asset: dict[str, Budget] = {}

    def judge(self, trade: Increase) -> Increase | Hold:
        """The trade, as much of it as fits, or why it has to wait."""
        obstacle = self._find_obstacle(trade)
        if obstacle is not None:
            return Hold(trade.key, obstacle, trade.assessment)
        rules, mark = self._inputs.venue.rules[trade.symbol], self._inputs.observation.marks[trade.symbol]
        quantity, reason = self._fit(trade, rules, mark)
        is_whole = quantity == trade.share.quantity
        if not is_whole and not check_large_enough(quantity, mark, rules):
            return Hold(trade.key, reason, trade.assessment)
        for budget in self._get_budgets(trade.symbol):
            budget.left -= quantity * mark * budget.cost
        return trade if is_whole else replace(trade, share=trade.share._replace(quantity=quantity))

    def count_affordable(self, trades: Sequence[Increase]) -> int:
        """How many of these trades, from the first on, make no more orders than this minute has room for."""
        inputs, limits = self._inputs, self._limits
        room = max(limits.orders_per_minute - inputs.usage.get_orders_per_minute(inputs.observation.taken_at), 0)

        def count_orders(count: int) -> int:
            return len(build_drafts(trades[:count], inputs.venue.rules, inputs.venue.group_max, self._order_max))

        if len(trades) <= room or count_orders(len(trades)) <= room:
            return len(trades)
        return bisect_right(range(len(trades)), room, key=count_orders) - 1

    def _find_obstacle(self, trade: Increase) -> Reason | None:
        place = (trade.key.market, trade.symbol, trade.side)
        if place not in self._obstacles:
            self._obstacles[place] = _find_place_obstacle(self._inputs, self._limits, *place)
        opens = self._inputs.usage.opens.get(trade.key) if isinstance(trade, OpenHedge) else ZERO
        return self._obstacles[place] or (Reason.OPENS_LIMIT if opens >= self._limits.opens_per_hour else None)

    def _fit(self, trade: Increase, rules: TradingRules, mark: Decimal) -> tuple[Decimal, Reason]:
        """As much of the trade as every limit has room for, on the step, and the limit that cuts it."""
        quantity, reason = trade.share.quantity, Reason.ORDER_NOTIONAL_LIMIT
        order_max = self._order_max.get(trade.symbol)
        if order_max is not None and quantity > order_max:
            quantity = _leave_orderable_rest(quantity, order_max, mark, rules)
        asked = quantity
        for budget in self._get_budgets(trade.symbol):
            if quantity * mark * budget.cost > budget.left:
                quantity = floor_to_step(budget.get_room() / Fraction(mark), rules.quantity_step)
                reason = budget.reason
        is_crumb = isinstance(trade, ResizeHedge) and quantity < asked * CRUMB
        return ZERO if is_crumb else quantity, reason

    def _get_budgets(self, symbol: str) -> list[Budget]:
        if symbol not in self._own:
            self._own[symbol] = [*self._shared, *self._build_budgets(symbol)]
        return self._own[symbol]

    def _build_shared_budgets(self) -> Iterator[Budget]:
        """What the limits that hold for all symbols together have left."""
        limits = self._limits
        if limits.total_notional_usd is not None:
            used = sum(self._notionals.values())
            yield Budget(Reason.TOTAL_NOTIONAL_LIMIT, limits.total_notional_usd - used)
        if limits.fees_usd_per_hour is not None:
            left = limits.fees_usd_per_hour - get_fees_usd(self._inputs, limits)
            yield Budget(Reason.FEE_LIMIT, left, limits.fee_rate)

    def _build_budgets(self, symbol: str) -> Iterator[Budget]:
        """What the symbol's own limits have left."""
        inputs, limits = self._inputs, self._limits
        if limits.market_notional_usd is not None:
            left = limits.market_notional_usd - self._notionals.get(symbol, ZERO)
            yield Budget(Reason.MARKET_NOTIONAL_LIMIT, left)
        if limits.free_margin_usd is not None:
            asset = inputs.venue.rules[symbol].margin_asset
            if asset not in self._by_asset:
                left = get_free_margin(inputs, limits, asset) - limits.free_margin_usd
                self._by_asset[asset] = Budget(Reason.FREE_MARGIN_LOW, left, _get_margin_rate(inputs, limits))
            yield self._by_asset[asset]


def _find_place_obstacle(
    inputs: GuardInputs, limits: GuardLimits, market: str, symbol: str, side: Side
) -> Reason | None:
    """Why nothing may be added on this side of this market, if nothing may."""
    observation = inputs.observation
    if inputs.usage.forced.get(symbol) >= limits.forced_per_hour:
        return Reason.FORCED_LIMIT
    if get_divergence_bps(observation, market, symbol) > limits.divergence_bps:
        return Reason.PRICE_DIVERGED
    if limits.needs_account and not check_account_known(inputs):
        return Reason.ACCOUNT_UNKNOWN
    if any(check_on_leg(side, leg) for name, leg in find_near_legs(inputs, limits) if name == symbol):
        return Reason.LIQUIDATION_NEAR
    return None


def get_divergence_bps(observation: Observation, market: str, symbol: str) -> Fraction:
    """How far the price feed and the exchange's mark are apart."""
    mark = Fraction(observation.marks[symbol])
    return abs(Fraction(observation.prices[market].price, PRICE_SCALE) - mark) * BPS / mark


def check_account_known(inputs: GuardInputs) -> bool:
    account = inputs.account
    return account is not None and abs(inputs.observation.taken_at - account.read_at) <= ACCOUNT_AGE_MAX_S


def find_near_legs(inputs: GuardInputs, limits: GuardLimits) -> list[LegKey]:
    """The legs that are nearer to their liquidation than the limit, as far as is known."""
    limit_bps, account, marks = limits.liquidation_distance_bps, inputs.account, inputs.observation.marks
    if limit_bps is None or account is None:
        return []
    return [
        key
        for key, liquidation in account.liquidations.items()
        if marks.get(key[0], ZERO) > 0 and liquidation.get_distance_bps(marks[key[0]]) < limit_bps
    ]


def get_notionals(inputs: GuardInputs) -> Mapping[str, Decimal]:
    """What is held and what is in flight to be added, by symbol, at the marks."""
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for hedge in inputs.book.get_all_hedged_positions().values():
        found[hedge.symbol] += hedge.quantity * _get_value(inputs, hedge.symbol, hedge.key, hedge.entry_price)
    for order in inputs.book.in_flight.values():
        if order.action is Action.INCREASE:
            symbol = order.request.symbol
            for share in order.shares:
                found[symbol] += share.quantity * _get_value(inputs, symbol, share.key, share.entry_price)
    return found


def _get_value(inputs: GuardInputs, symbol: str, key: HedgeKey, entry_price: int) -> Decimal:
    """The mark; where there is none the newest price, however old, or else the position's own."""
    mark = inputs.observation.marks.get(symbol, ZERO)
    if mark > 0:
        return mark
    tick = inputs.observation.prices.get(key.market)
    return get_price(tick.price if tick is not None else entry_price)


def get_fees_usd(inputs: GuardInputs, limits: GuardLimits) -> Decimal:
    """What was filled in the last hour and may be filled of what is in flight, at the taker's fee."""
    return (inputs.usage.filled.total + sum(inputs.usage.in_flight.values())) * limits.fee_rate


def get_free_margin(inputs: GuardInputs, limits: GuardLimits, asset: str) -> Decimal:
    """What the account can use as margin, less what the orders since its last reading take."""
    account, rules = inputs.account, inputs.venue.rules
    if account is None:
        return ZERO
    recent = inputs.usage.growth.get_since(account.settled_until)
    added = sum(e.amount for e in recent if e.name in rules and rules[e.name].margin_asset == asset)
    return account.available.get(asset, ZERO) - added * _get_margin_rate(inputs, limits)


def _get_margin_rate(inputs: GuardInputs, limits: GuardLimits) -> Decimal:
    """What a dollar of notional takes of the free margin: its initial margin and its fee."""
    return ONE / inputs.leverage + limits.fee_rate


def get_increase_max(inputs: GuardInputs, limits: GuardLimits) -> Mapping[str, Decimal]:
    """The largest quantity of one order that adds exposure, by symbol, on the step."""
    limit, marks = limits.order_notional_usd, inputs.observation.marks
    if limit is None:
        return {}
    return {
        symbol: floor_to_step(Fraction(limit) / Fraction(marks[symbol]), rules.quantity_step)
        for symbol, rules in inputs.venue.rules.items()
        if marks.get(symbol, ZERO) > 0
    }


def _leave_orderable_rest(quantity: Decimal, part: Decimal, mark: Decimal, rules: TradingRules) -> Decimal:
    """The part that goes first: a little less of it where the exchange would refuse what is left over as too small."""
    if check_large_enough(quantity - part, mark, rules):
        return part
    least = max(Fraction(rules.quantity_min), Fraction(rules.notional_min) / Fraction(mark))
    rest = -floor_to_step(-least, rules.quantity_step)
    return quantity - rest if check_large_enough(quantity - rest, mark, rules) else part
