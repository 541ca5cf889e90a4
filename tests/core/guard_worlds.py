"""What the guards look at, for tests: inputs with sensible defaults, and increases of the default position's kind.

At the mark of 60,000 the default increase of 0.2 BTC is worth 12,000 USD; a step of 0.001 BTC is worth 60.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from dehedge.core.book import HedgeBook
from dehedge.core.decisions import CloseHedge, Decision, Hold, OpenHedge, Reason, ResizeHedge
from dehedge.core.guards import AccountReading, GuardInputs, GuardLimits, Liquidation, apply_guards
from dehedge.core.model import Leg, Observation
from dehedge.core.orders import Action
from dehedge.core.policy import VenueState
from dehedge.core.risk import Capital, RiskAssessment
from dehedge.core.usage import Usage
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    SYMBOLS,
    Number,
    a_book,
    a_position,
    a_share,
    a_user,
    a_venue,
    an_observation,
)

MARK = 60_000
STEP = Decimal("0.001")
WHOLE = Decimal("0.2")


def an_assessment(loss_usd: int) -> RiskAssessment:
    """Of a position that has cost the vault so much."""
    return RiskAssessment(loss_usd * 10**6 * 7, 7, Capital(0, 0), True, True, True)


def an_open(
    user: int = 1, *, quantity: Number = WHOLE, market: str = BTC, is_long: bool = True, loss_usd: int = 100
) -> OpenHedge:
    position = a_position(user=a_user(user), market=market, is_long=is_long)
    share = a_share(position=position, quantity=quantity)
    side = position.hedge_side
    return OpenHedge(position.key, Reason.AT_RISK, SYMBOLS[market], side, share, an_assessment(loss_usd))


def a_resize(user: int = 1, *, quantity: Number = WHOLE, action: Action = Action.INCREASE) -> ResizeHedge:
    opened = an_open(user, quantity=quantity)
    return ResizeHedge(
        opened.key, Reason.SIZE_CHANGED, opened.symbol, opened.side, opened.share, opened.assessment, action
    )


def a_close(user: int = 1, *, quantity: Number = WHOLE) -> CloseHedge:
    opened = an_open(user, quantity=quantity)
    return CloseHedge(opened.key, Reason.EXPIRED, opened.symbol, opened.side, opened.share._replace(target=Decimal(0)))


def an_account(
    *,
    available: Number = 0,
    read_at: float = NOW,
    settled_until: float | None = None,
    liquidations: Mapping[tuple[str, Leg], Liquidation] | None = None,
) -> AccountReading:
    until = read_at if settled_until is None else settled_until
    return AccountReading(read_at, until, {"USDT": Decimal(available)}, liquidations or {})


def inputs(
    *,
    book: HedgeBook | None = None,
    usage: Usage | None = None,
    account: AccountReading | None = None,
    venue: VenueState | None = None,
    observation: Observation | None = None,
    leverage: int = 20,
) -> GuardInputs:
    seen = an_observation(prices={BTC: MARK, ETH: MARK}) if observation is None else observation
    known = usage if usage is not None else Usage()
    known.advance(seen.taken_at)
    return GuardInputs(seen, a_book() if book is None else book, venue or a_venue(), known, leverage, account)


def judge(decision: Decision, limits: GuardLimits, given: GuardInputs | None = None) -> Decision:
    (verdict,) = apply_guards([decision], given or inputs(), limits)
    return verdict


def tell(decision: Decision) -> Decimal | Reason:
    """How much is let through, or why nothing is."""
    if isinstance(decision, Hold):
        return decision.reason
    assert isinstance(decision, OpenHedge | ResizeHedge | CloseHedge)
    return decision.share.quantity


def tell_all(decisions: Iterable[Decision]) -> list[Decimal | Reason]:
    return [tell(decision) for decision in decisions]
