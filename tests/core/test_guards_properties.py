"""What holds in every world: no accepted open passes a limit, whatever came before; what adds nothing is never touched.

A small world is played on: decisions of every kind, guarded, ordered, filled in whole, in part, late or never. What was
used is counted a second time, from what was sent and filled, and held against each limit after every pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from dehedge.core.batching import OrderDraft, build_drafts
from dehedge.core.book import HedgeBook, HedgeStatus
from dehedge.core.decisions import CloseHedge, Decision, Hold, OpenHedge, Reason, ResizeHedge
from dehedge.core.events import Event, OrderAbandoned, OrderIntended, fold
from dehedge.core.guard_report import GUARDS
from dehedge.core.guards import GuardInputs, GuardLimits, apply_guards, get_increase_max
from dehedge.core.model import HedgeKey
from dehedge.core.orders import Action, OrderStatus
from dehedge.core.usage import Usage
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    SYMBOLS,
    a_book,
    a_report,
    a_venue,
    an_intent,
    an_observation,
    get_trades,
    rules,
)
from tests.core.guard_worlds import an_account, an_open

STEP = Decimal("0.001")
KEYS = [an_open(user, market=market).key for user in range(2) for market in (BTC, ETH)]

quantities = st.integers(1, 500).map(lambda count: count * STEP)
amounts = st.integers(500, 60_000).map(Decimal)
LIMITS: dict[str, st.SearchStrategy[object]] = {
    "order_notional_usd": amounts,
    "market_notional_usd": amounts,
    "total_notional_usd": amounts,
    "orders_per_minute": st.integers(1, 4),
    "free_margin_usd": st.integers(1, 3_000).map(Decimal),
    "fees_usd_per_hour": st.integers(1, 30).map(Decimal),
    "taker_fee_bps": st.sampled_from((Decimal(0), Decimal("4.5"), Decimal(10))),
    "opens_per_hour": st.integers(1, 2),
}
limits_of_all_kinds = (
    st.sets(st.sampled_from(sorted(LIMITS)), min_size=1, max_size=3)
    .flatmap(lambda names: st.fixed_dictionaries({name: LIMITS[name] for name in sorted(names)}))
    .map(lambda given: GuardLimits(**given))
)
"""A few at a time: where everything is limited, little is let through."""


@dataclass
class Played:
    """One account under guards, and what it used, counted by hand."""

    limits: GuardLimits
    now: float = NOW
    book: HedgeBook = field(default_factory=a_book)
    usage: Usage = field(default_factory=Usage)
    sent: list[tuple[float, OrderIntended]] = field(default_factory=list)
    filled: list[tuple[float, Decimal]] = field(default_factory=list)
    opened: list[tuple[float, HedgeKey]] = field(default_factory=list)

    def record(self, event: Event) -> None:
        changes = fold(self.book, event)
        self.usage.note(self.now, event, changes)
        for change in changes:
            mark = next(i.mark for _, i in self.sent if change.key in [share.key for share in i.shares])
            self.filled.append((self.now, change.quantity * (mark or 0)))
            if change.kind == "hedge_opened":
                self.opened.append((self.now, change.key))

    def decide(self, draw: st.DrawFn) -> list[Decision]:
        """One decision of a kind that the book allows for every key."""
        found: list[Decision] = []
        for number, key in enumerate(KEYS):
            hedge, quantity, is_free = (
                self.book.get_hedged_position(key),
                draw(quantities),
                draw(st.sampled_from((True, True, False))),
            )
            user, market = divmod(number, 2)
            trade = an_open(user, market=(BTC, ETH)[market], quantity=quantity, loss_usd=draw(st.integers(0, 9)))
            if not is_free or (hedge is not None and hedge.status is not HedgeStatus.OPEN):
                found.append(Hold(key, Reason.IN_FLIGHT))
            elif hedge is None:
                found.append(trade)
            else:
                kind = draw(st.sampled_from(("grow", "shrink", "close", "close")))
                part = min(quantity, hedge.quantity)
                share = trade.share._replace(quantity=quantity if kind == "grow" else part)
                common = (key, Reason.SIZE_CHANGED, hedge.symbol, hedge.side)
                found.append(
                    CloseHedge(*common, share._replace(quantity=hedge.quantity, target=Decimal(0)))
                    if kind == "close"
                    else ResizeHedge(*common, share, action=Action.INCREASE if kind == "grow" else Action.REDUCE)
                )
        return found

    def get_since(self, entries: Sequence[tuple[float, object]], seconds: float) -> list[object]:
        return [entry for at, entry in entries if at > self.now - seconds]

    def get_notional(self, marks: dict[str, Decimal], symbols: set[str]) -> Decimal:
        """Held and in flight to be added, at these marks."""
        held = [(h.symbol, h.quantity) for h in self.book.get_all_hedged_positions().values()]
        held += [
            (order.request.symbol, order.request.quantity)
            for order in self.book.in_flight.values()
            if order.action is Action.INCREASE
        ]
        return sum((quantity * marks[symbol] for symbol, quantity in held if symbol in symbols), Decimal(0))

    def get_fees(self) -> Decimal:
        filled = sum(self.get_since(self.filled, 3_600), Decimal(0))  # type: ignore[arg-type]
        flying = [i for _, i in self.sent if i.request.client_order_id in self.book.in_flight]
        notional = sum((i.request.quantity * (i.mark or 0) for i in flying), Decimal(filled))
        return notional * self.limits.taker_fee_bps / 10_000


def check_decisions(given_: Sequence[Decision], guarded: Sequence[Decision], limits: GuardLimits) -> None:
    """What adds nothing is the same object; what adds is the same trade, at most smaller, or held by a guard."""
    assert [decision.key for decision in given_] == [decision.key for decision in guarded]
    for before, after in zip(given_, guarded, strict=True):
        if not isinstance(before, OpenHedge | ResizeHedge) or before.action is Action.REDUCE:
            assert after is before
        elif isinstance(after, Hold):
            assert after.reason in GUARDS
            assert after.assessment is before.assessment
        else:
            assert isinstance(after, type(before))
            assert replace(after, share=before.share) == before
            assert 0 < after.share.quantity <= before.share.quantity
            assert after.share.quantity % STEP == 0


@settings(max_examples=250, deadline=None)
@given(st.data(), limits_of_all_kinds)
def test_no_sequence_of_accepted_opens_passes_a_limit(data: st.DataObject, limits: GuardLimits) -> None:
    played = Played(limits)
    for sequence in range(data.draw(st.integers(2, 8), label="passes")):
        marks = {symbol: Decimal(data.draw(st.integers(40_000, 60_000))) for symbol in SYMBOLS.values()}
        available = Decimal(data.draw(st.integers(0, 6_000), label="available"))
        run_pass(data, played, marks, available, sequence * 100)
        played.now += data.draw(st.sampled_from((1, 30, 30, 61, 600, 3_601)), label="seconds")


def run_pass(data: st.DataObject, played: Played, marks: dict[str, Decimal], available: Decimal, sequence: int) -> None:
    """Decide, guard, order, check, and let the exchange do what it likes."""
    limits = played.limits
    decisions = data.draw(st.composite(lambda draw: played.decide(draw))(), label="decisions")
    prices = {market: marks[symbol] for market, symbol in SYMBOLS.items()}
    observation = an_observation(prices=prices, marks=marks, taken_at=played.now)
    venue = a_venue(known=[rules(symbol=symbol, quantity_max="0.4") for symbol in SYMBOLS.values()])
    played.usage.advance(played.now)
    account = an_account(available=available, read_at=played.now, settled_until=played.now + 0.001)
    given_ = GuardInputs(observation, played.book, venue, played.usage, 20, account)

    guarded = apply_guards(decisions, given_, limits)

    check_decisions(decisions, guarded, limits)
    drafts = build_drafts(get_trades(guarded), venue.rules, {}, get_increase_max(given_, limits))
    for number, draft in enumerate(drafts):
        intent = replace(
            an_intent(
                shares=draft.shares, hedge_side=draft.hedge_side, action=draft.action, symbol=draft.symbol,
                sequence=sequence + number, intended_at=played.now,
            ),
            mark=marks[draft.symbol],
        )  # fmt: skip
        played.sent.insert(0, (played.now, intent))
        played.record(intent)
    check_limits(played, [draft for draft in drafts if draft.action is Action.INCREASE], marks, available)
    for _, intent in list(played.sent):
        if intent.request.client_order_id in played.book.in_flight:
            end(data, played, intent)


def check_limits(played: Played, added: list[OrderDraft], marks: dict[str, Decimal], available: Decimal) -> None:
    """Where something was added, every limit holds with it."""
    limits, fee_rate = played.limits, played.limits.taker_fee_bps / 10_000
    if not added:
        return
    new = sum((draft.quantity * marks[draft.symbol] for draft in added), Decimal(0))
    if limits.order_notional_usd is not None:
        assert all(draft.quantity * marks[draft.symbol] <= limits.order_notional_usd for draft in added)
    if limits.market_notional_usd is not None:
        for symbol in {draft.symbol for draft in added}:
            assert played.get_notional(marks, {symbol}) <= limits.market_notional_usd
    if limits.total_notional_usd is not None:
        assert played.get_notional(marks, set(marks)) <= limits.total_notional_usd
    if limits.free_margin_usd is not None:
        assert available - new * (Decimal(1) / 20 + fee_rate) >= limits.free_margin_usd
    increases = [(at, intent) for at, intent in played.sent if intent.action is Action.INCREASE]
    assert len(played.get_since(increases, 60)) <= limits.orders_per_minute
    check_fees(played, added)
    opened = [*played.get_since(played.opened, 3_600), *get_opening(played)]
    assert all(opened.count(key) <= limits.opens_per_hour for key in opened)


def check_fees(played: Played, added: list[OrderDraft]) -> None:
    """What is closed in the same pass costs fees too, and is not counted before it is sent."""
    keys = {key for draft in added for key in draft.keys}
    flying = [i for at, i in played.sent if i.request.client_order_id in played.book.in_flight and at == played.now]
    closing = sum(
        (i.request.quantity * (i.mark or 0) for i in flying if not keys & {s.key for s in i.shares}), Decimal(0)
    )
    budget = played.limits.fees_usd_per_hour
    assert budget is None or played.get_fees() - closing * played.limits.taker_fee_bps / 10_000 <= budget


def get_opening(played: Played) -> list[HedgeKey]:
    hedges = played.book.get_all_hedged_positions().values()
    return [hedge.key for hedge in hedges if hedge.status is HedgeStatus.OPENING]


def end(data: st.DataObject, played: Played, intent: OrderIntended) -> None:
    """The order is filled, cut short, refused, given up, or stays in flight."""
    fate = data.draw(st.sampled_from(("filled", "filled", "part", "refused", "given up", "flies", "flies")))
    if fate == "filled":
        played.record(a_report(intent, at=played.now))
    elif fate == "part":
        part = (intent.request.quantity / 2).quantize(STEP)
        played.record(a_report(intent, filled=part, status=OrderStatus.EXPIRED, at=played.now))
    elif fate == "refused":
        played.record(a_report(intent, filled=0, status=OrderStatus.REJECTED, at=played.now))
    elif fate == "given up":
        played.record(OrderAbandoned(intent.request.client_order_id, "never arrived"))
