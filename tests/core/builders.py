"""Builders of the core's nouns for tests: every argument has a sensible default and is given by name.

The world they start from: a BTC long of 10,000 USDC opened at 50,000 (0.2 BTC), a vault of 1,000,000 and a shield of
1,000. With the factors at 1 the position is at risk from a price of 55,000 on. ``an_intent``, ``a_report`` and
``carry_out`` play the executor: they make events of decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from dehedge.core.batching import OrderDraft, build_drafts
from dehedge.core.book import HedgeBook, HedgedPosition, HedgeStatus, TradingMode
from dehedge.core.decisions import CloseHedge, Decision, OpenHedge, ResizeHedge, TradeDecision
from dehedge.core.events import Event, HedgeChange, OrderIntended, OrderReported, fold
from dehedge.core.model import (
    ChainSnapshot,
    HedgeKey,
    Market,
    Observation,
    Position,
    PriceTick,
    Side,
    TradingRules,
)
from dehedge.core.orders import (
    Action,
    OrderReport,
    OrderRequest,
    OrderStatus,
    Share,
    client_order_id,
    get_leg,
)
from dehedge.core.policy import HedgingPolicy, PortfolioTerms, VenueState
from dehedge.core.risk import RiskFactors
from dehedge.core.sizing import Sizing

NOW = 1_800_000_000.0
USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
USER = "0x000000000000000000000000000000000000dEaD"
BTC, ETH = "BTC-USD", "ETH-USD"
SYMBOLS = {BTC: "BTCUSDT", ETH: "ETHUSDT"}
SAFE, RISKY = 50_000, 60_000
"""Prices at which the default position is not, and is, at risk."""

Number = int | str | Decimal


def usd(amount: Number) -> int:
    """Dollars as base units of USDC."""
    return int(Decimal(amount) * 10**6)


def scaled(price: Number) -> int:
    """A price or tracer as the chain's integer."""
    return int(Decimal(price) * 10**18)


def a_user(number: int) -> str:
    return f"0x{number:040x}"


def a_key(*, market: str = BTC, user: str = USER, asset: str = USDC) -> HedgeKey:
    return HedgeKey(market, f"{user}|{asset}")


def a_position(
    *,
    user: str = USER,
    asset: str = USDC,
    market: str = BTC,
    is_long: bool = True,
    size: int = usd(10_000),
    collateral: int = usd(1_000),
    funding_tracer: int = 0,
    entry_price: int = scaled(50_000),
    opened_at: int = int(NOW) - 3_600,
) -> Position:
    return Position(user, asset, market, is_long, size, collateral, funding_tracer, entry_price, opened_at)


def a_market(*, name: str = BTC, feed_max_age_s: int = 0) -> Market:
    return Market(name, name.encode().hex().rjust(64, "0"), feed_max_age_s)


def a_snapshot(
    *,
    positions: Iterable[Position] = (),
    vault: int = usd(1_000_000),
    shield: int = usd(1_000),
    funding: Mapping[tuple[str, str], int] | None = None,
    markets: Mapping[str, Market] | None = None,
    block_number: int = 1_000,
    block_time: int = int(NOW) - 2,
    host: str = "https://first",
) -> ChainSnapshot:
    known = {name: a_market(name=name) for name in SYMBOLS}
    return ChainSnapshot(
        block_number, f"0x{block_number:064x}", block_time, vault, shield,
        positions={position.key: position for position in positions},
        funding=funding or {}, markets=known if markets is None else markets, host=host,
    )  # fmt: skip


def a_tick(*, market: str = BTC, price: Number = SAFE, publish_time: int = int(NOW) - 1) -> PriceTick:
    return PriceTick(market, scaled(price), 0, publish_time)


def an_observation(
    *,
    snapshot: ChainSnapshot | None = None,
    positions: Iterable[Position] = (),
    prices: Mapping[str, Number] | None = None,
    marks: Mapping[str, Number] | None = None,
    price_age_s: int = 1,
    taken_at: float = NOW,
) -> Observation:
    """``prices`` by market; ``marks`` by symbol, the prices themselves unless given.

    The snapshot before this one said the same, a block earlier.
    """
    prices = {BTC: SAFE, ETH: SAFE} if prices is None else prices
    if marks is None:
        marks = {SYMBOLS[market]: price for market, price in prices.items() if market in SYMBOLS}
    ticks = {
        market: a_tick(market=market, price=price, publish_time=int(taken_at) - price_age_s)
        for market, price in prices.items()
    }
    seen = a_snapshot(positions=positions, block_time=int(taken_at) - 2) if snapshot is None else snapshot
    exact = {symbol: Decimal(mark) for symbol, mark in marks.items()}
    return Observation(seen, ticks, exact, taken_at, get_one_before(seen))


def get_one_before(snapshot: ChainSnapshot, **changes: Any) -> ChainSnapshot:
    """What the same node said a block earlier: the same."""
    number = snapshot.block_number - 1
    before = {"block_number": number, "block_hash": f"0x{number:064x}", "block_time": snapshot.block_time - 2}
    return replace(snapshot, **{**before, **changes})


def a_hedge(
    *,
    position: Position | None = None,
    quantity: Number = "0.2",
    target: Number | None = None,
    status: HedgeStatus = HedgeStatus.OPEN,
    placed_at: float = NOW,
    **changes: Any,
) -> HedgedPosition:
    """The hedge of a position (the default one), held to its target unless told otherwise."""
    of = a_position() if position is None else position
    hedge = HedgedPosition(
        of.key, SYMBOLS[of.market], of.hedge_side, Decimal(quantity), Decimal(quantity if target is None else target),
        of.size, of.entry_price, status, "at_risk", opened_at=NOW - 600, placed_at=placed_at, seen_block=0,
    )  # fmt: skip
    return replace(hedge, **changes)


def a_book(
    *hedges: HedgedPosition, mode: TradingMode = TradingMode.ACTIVE, is_flattening: bool = False, block_number: int = 0
) -> HedgeBook:
    book = HedgeBook(mode=mode, is_flattening=is_flattening, block_number=block_number)
    for hedge in hedges:
        book.set_hedged_position(hedge)
    return book


def a_policy(**changes: Any) -> HedgingPolicy:
    policy = HedgingPolicy(
        factors=RiskFactors(Fraction(1), Fraction(1), Fraction(2, 5), 10_000), sizing=Sizing.DELTA, asset=USDC,
        symbols=SYMBOLS, leverage=20, size_min=usd(1_000), expiry_s=60.0, max_price_age_s=10.0,
        max_snapshot_age_s=30.0,
    )  # fmt: skip
    return replace(policy, **changes)


TOGETHER = PortfolioTerms(Fraction(1, 2), Fraction(2), Fraction(1, 100), Fraction(1, 1000), Fraction(1, 2))
"""Positions are judged together, by round numbers."""


def rules(
    *,
    symbol: str = "BTCUSDT",
    step: Number = "0.001",
    quantity_min: Number | None = None,
    quantity_max: Number = 120,
    notional_min: Number = 50,
    is_trading: bool = True,
) -> TradingRules:
    """``quantity_min`` is the step unless given."""
    least = Decimal(step if quantity_min is None else quantity_min)
    return TradingRules(
        symbol, Decimal(step), least, Decimal(quantity_max), Decimal(notional_min), Decimal("0.1"), is_trading
    )


def a_venue(
    *,
    known: Iterable[TradingRules] | None = None,
    blocked: Mapping[str, str] | None = None,
    exhausted: Iterable[str] = (),
    waiting_to_grow: Iterable[HedgeKey] = (),
    waiting_to_reduce: Iterable[HedgeKey] = (),
    busy: Iterable[HedgeKey] = (),
) -> VenueState:
    known = [rules(symbol=symbol) for symbol in SYMBOLS.values()] if known is None else known
    return VenueState(
        rules={rule.symbol: rule for rule in known}, blocked=blocked or {}, exhausted=frozenset(exhausted),
        waiting_to_grow=frozenset(waiting_to_grow), waiting_to_reduce=frozenset(waiting_to_reduce),
        busy=frozenset(busy),
    )  # fmt: skip


def a_share(*, position: Position | None = None, quantity: Number = "0.2", target: Number | None = None) -> Share:
    """A position's part of an order; ``target`` is the quantity unless given."""
    of = a_position() if position is None else position
    goal = Decimal(quantity if target is None else target)
    return Share(of.key, Decimal(quantity), goal, of.size, of.entry_price, "at_risk")


def an_intent(
    *,
    shares: Sequence[Share] | None = None,
    hedge_side: Side = Side.BUY,
    action: Action = Action.INCREASE,
    symbol: str = "BTCUSDT",
    hedge_mode: bool = False,
    reduce_only: bool | None = None,
    sequence: int = 1,
    intended_at: float = NOW,
    block_number: int = 1_000,
) -> OrderIntended:
    """The intent of an order for these shares, an increase decided from fresh inputs.

    A reduction is reduce-only in one-way mode unless told otherwise.
    """
    draft = OrderDraft(symbol, hedge_side, action, (a_share(),) if shares is None else tuple(shares))
    reduces = action is Action.REDUCE if reduce_only is None else reduce_only
    request = OrderRequest(
        client_order_id("a1b2c3", action, draft.shares, sequence), symbol, draft.order_side,
        get_leg(hedge_side, hedge_mode=hedge_mode), draft.quantity, reduce_only=reduces and not hedge_mode,
    )  # fmt: skip
    fresh_until = intended_at + 5 if action is Action.INCREASE else None
    return OrderIntended(request, hedge_side, action, draft.shares, intended_at, block_number, fresh_until)


def a_report(
    intent: OrderIntended,
    *,
    status: OrderStatus = OrderStatus.FILLED,
    filled: Number | None = None,
    at: float = NOW,
    **changes: Any,
) -> OrderReported:
    """What the exchange says of the order; all of it is filled unless told otherwise."""
    quantity = intent.request.quantity if filled is None else Decimal(filled)
    report = OrderReport(intent.request.client_order_id, status, quantity, venue_order_id="77")
    return OrderReported(replace(report, **changes), at)


def an_intent_for(book: HedgeBook, position: Position, quantity: Decimal, *, sequence: int) -> OrderIntended:
    """An order that the book allows: it opens what is absent, and closes (at most ``quantity`` of) what is held."""
    hedge = book.get_hedged_position(position.key)
    held = hedge.quantity if hedge is not None else quantity
    target = quantity if hedge is None else Decimal(0)
    action = Action.INCREASE if hedge is None else Action.REDUCE
    share = a_share(position=position, quantity=min(quantity, held), target=target)
    return an_intent(shares=[share], hedge_side=position.hedge_side, action=action, sequence=sequence)


def replay(events: Iterable[Event]) -> HedgeBook:
    """The book that these facts make."""
    book = HedgeBook()
    for event in events:
        fold(book, event)
    return book


def get_hedge(book: HedgeBook, position: Position) -> HedgedPosition:
    hedge = book.get_hedged_position(position.key)
    assert hedge is not None
    return hedge


def get_held(book: HedgeBook) -> list[Decimal]:
    return [hedge.quantity for hedge in book.get_all_hedged_positions().values()]


def get_trades(decisions: Iterable[Decision]) -> list[TradeDecision]:
    return [decision for decision in decisions if isinstance(decision, OpenHedge | ResizeHedge | CloseHedge)]


def carry_out(
    book: HedgeBook, decisions: Iterable[Decision], venue: VenueState, *, sequence: int, at: float = NOW
) -> list[HedgeChange]:
    """Fold the trades among the decisions as orders that were filled at once."""
    changes = []
    for number, draft in enumerate(build_drafts(get_trades(decisions), venue.rules, {}), start=sequence):
        intent = an_intent(
            shares=draft.shares, hedge_side=draft.hedge_side, action=draft.action, symbol=draft.symbol,
            sequence=number, intended_at=at,
        )  # fmt: skip
        fold(book, intent)
        changes += fold(book, a_report(intent, at=at))
    return changes
