"""An explanation in words: the lines that a risk desk reads, and amounts as people write them.

Rounds for display, and nowhere hides that something is not zero. Pure; called by the operator's views, which send the
lines beside the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

from dehedge.core.decisions import CloseHedge, Decision, OpenHedge, Reason, RefreshHedge, ResizeHedge
from dehedge.core.explain import Case, Check, RiskFigures, Sized
from dehedge.core.guard_report import GUARDS
from dehedge.core.model import PRICE_SCALE, Position, Stance
from dehedge.core.risk import Risk
from dehedge.core.trips import get_distance_bps

DIGITS_MAX = 100
"""Of an exact decimal: more than the largest number of the chain has."""
CENT = Fraction(1, 100)
PRICE_DIGITS = 9
"""Of a price in words; the figures have them all."""

REASONS: Mapping[Reason, str] = {
    Reason.AT_RISK: "at least one check fires",
    Reason.PORTFOLIO_AT_RISK: "the traders' profits together leave too little room; this is its part of the hedge",
    Reason.PORTFOLIO_SAFE: "the traders' profits together leave room again",
    Reason.SIZE_CHANGED: "the position's size or entry price is another than the hedge was made for",
    Reason.INCOMPLETE: "the hedge is not as large as it should be yet",
    Reason.NOT_AT_RISK: "no check fires",
    Reason.COOLING_DOWN: "no check fires any more; the hedge is kept until that has lasted for HEDGE_EXPIRY_SECONDS",
    Reason.EXPIRED: "no check has fired for HEDGE_EXPIRY_SECONDS",
    Reason.POSITION_CLOSED: "two snapshots in a row lack the position",
    Reason.GONE_UNCONFIRMED: "the newest snapshot lacks the position; a second one has to confirm that",
    Reason.SIDE_CHANGED: "the position has turned to the other side",
    Reason.FLATTENED: "an operator flattens everything",
    Reason.IN_FLIGHT: "an order for it is under way",
    Reason.STALE_SNAPSHOT: "the chain's newest snapshot is too old to decide by",
    Reason.STALE_PRICE: "there is no price young enough to decide by",
    Reason.NO_MARK_PRICE: "the exchange gives no mark price to size by",
    Reason.OTHER_ASSET: "the position is in another asset, and this vault does not stand behind it",
    Reason.UNSUPPORTED_MARKET: "the market has no line in markets.toml",
    Reason.SYMBOL_BLOCKED: "nothing may be added in the symbol; `dehedge status` says why",
    Reason.BELOW_MIN_COLLATERAL: "its hedge would bind less margin than MIN_COLLATERAL",
    Reason.TOO_SMALL: "it is below the smallest order that the exchange takes",
    Reason.BACKING_OFF: "the exchange refused it a moment ago; it is tried again by itself",
    Reason.MARGIN_EXHAUSTED: "the account has not enough margin left",
    Reason.TRADING_PAUSED: "the kill switch or a flattening holds it; `dehedge resume` ends that",
    Reason.ORDER_NOTIONAL_LIMIT: "the limit on one order is below the smallest order",
    Reason.MARKET_NOTIONAL_LIMIT: "the hedges of the symbol are at their limit",
    Reason.TOTAL_NOTIONAL_LIMIT: "all hedges together are at their limit",
    Reason.ORDER_RATE_LIMIT: "the orders of this minute are used up; the rest follows in the next",
    Reason.PRICE_DIVERGED: "the price and the exchange's mark are too far apart",
    Reason.FREE_MARGIN_LOW: "the free margin that must be left would be touched",
    Reason.LIQUIDATION_NEAR: "the exchange's position is too near to its liquidation",
    Reason.ACCOUNT_UNKNOWN: "the last reading of the account is too old to know its margin",
    Reason.FEE_LIMIT: "the fees of this hour are used up",
    Reason.OPENS_LIMIT: "its hedge was opened too often in the last hour",
    Reason.FORCED_LIMIT: "too many of the symbol's hedges were liquidated in the last hour",
}
"""Why, in words."""


def describe_case(case: Case) -> list[str]:
    """The whole explanation, a line for each step."""
    return [
        *_describe_position(case),
        *_describe_risk(case),
        *([describe_stance(case.stance, case.asset_unit)] if case.stance is not None else []),
        *_describe_trigger(case),
        *_describe_decision(case.decision),
        *_describe_sized(case.sized),
        *_describe_hedge(case),
    ]


def describe_reason(reason: Reason) -> str:
    """The reason with the variable that sets its limit, if one does."""
    variable = f" ({GUARDS[reason]})" if reason in GUARDS else ""
    return f"{REASONS[reason]}{variable}"


def describe_stance(stance: Stance, unit: int) -> str:
    """How the traders stand together, in one line."""
    profit, limit, room, swing = (
        show_usd(amount, unit) for amount in (stance.profit, stance.limit, stance.room, stance.swing)
    )
    pace = "fast" if stance.is_fast else "slow: nothing new is bought"
    held, level = (show_percent(share * 10_000) for share in (stance.held, stance.level))
    return (
        f"all positions are judged together: profit {profit} USDC of the {limit} that fire a check, room {room} looking ahead, "
        f"a minute swings by {swing} ({pace}); {held} of {show_usd(stance.exposure, unit)} net is hedged, {level} is due"
    )


def show_exact(numerator: int, decimals: int) -> str:
    """A number of the chain with so many decimals, every digit of it."""
    with localcontext() as context:
        context.prec = DIGITS_MAX
        text = f"{Decimal(numerator).scaleb(-decimals):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def show_price(price: int) -> str:
    """A 1e18-scaled price, rounded to what one can read."""
    whole, _ = divmod(abs(price), PRICE_SCALE)
    places = max(PRICE_DIGITS - len(str(whole)), 2)
    return _show_rounded(Fraction(price, PRICE_SCALE), places).rstrip("0").rstrip(".")


def show_usd(amount: Fraction | int, unit: int) -> str:
    """An amount of base units to the cent; what is less than a cent is not nothing."""
    dollars = Fraction(amount) / unit
    if 0 < abs(dollars) < CENT:
        return "less than 0.01" if dollars > 0 else "-(less than 0.01)"
    return _show_rounded(dollars, 2)


def show_percent(bps: Fraction) -> str:
    return f"{_show_rounded(bps / 100, 2)} %"


def _show_rounded(number: Fraction, places: int) -> str:
    scaled = round(number * 10**places)
    with localcontext(rounding=ROUND_HALF_EVEN) as context:
        context.prec = DIGITS_MAX
        return f"{Decimal(scaled).scaleb(-places):,f}"


def _show_factor(factor: Fraction) -> str:
    return f"{(Decimal(factor.numerator) / factor.denominator).normalize():f}"


def _describe_position(case: Case) -> Iterator[str]:
    position = case.position
    if position is None:
        yield f"{case.key}: the newest snapshot of the chain has no such position"
        return
    side, size = "long" if position.is_long else "short", show_usd(position.size, case.asset_unit)
    yield f"{position.market} {side} of {size} USDC, trader {position.user}, opened at {show_price(position.entry_price)}"


def _describe_risk(case: Case) -> Iterator[str]:
    vault, shield = (show_usd(amount, case.asset_unit) for amount in (case.capital.vault, case.capital.shield))
    yield f"vault {vault} USDC, shield {shield} USDC"
    if case.price is None:
        yield "there is no price of this market yet, so nothing can be checked"
    elif case.risk is not None and case.position is not None:
        yield f"price {show_price(case.price)}: {_describe_profit(case, case.risk)}"
        yield from (_describe_check(case, check) for check in case.risk.checks)


def _describe_profit(case: Case, risk: RiskFigures) -> str:
    unit = case.asset_unit
    kind = "got" if risk.funding < 0 else "paid"
    parts = f"{show_usd(risk.price_gain, unit)} by the price, {show_usd(abs(risk.funding), unit)} of funding {kind}"
    return f"the trader's profit is {show_usd(risk.assessment.pnl, unit)} USDC ({parts})"


def _describe_check(case: Case, check: Check) -> str:
    left, right, margin = (show_usd(amount, case.asset_unit) for amount in (check.left, check.right, abs(check.margin)))
    formula = _get_formulas(case)[check.risk].format(left=left, right=right)
    if check.has_fired:
        outcome = f"FIRES, by {margin} USDC"
    elif check.margin:
        outcome = f"does not fire, {margin} USDC are missing"
    else:
        outcome = "does not fire: both sides are equal"
    return f"{check.risk.value} {outcome}: {formula}"


def _get_formulas(case: Case) -> Mapping[Risk, str]:
    factors = case.factors
    drawdown, limit = _show_factor(factors.vault), _show_factor(factors.vault_profit_limit)
    interest = _show_factor(factors.profit_limit_interest)
    return {
        Risk.VAULT_DRAWDOWN: f"vault x {drawdown} = {{left}} > {{right}} = vault + shield - profit",
        Risk.SHIELD_PNL: "shield - profit = {left} <= 0",
        Risk.PROFIT_LIMIT: f"vault x {limit} x {interest} = {{left}} > {{right}} = (vault + shield - profit) x {interest}",
    }


def _describe_trigger(case: Case) -> Iterator[str]:
    position, trigger = case.position, case.trigger
    if position is None:
        return
    if trigger is None:
        yield "no price decides whether it is at risk"
        return
    where = "at and above" if position.is_long else "at and below"
    yield f"at risk {where} {show_price(trigger)}{_describe_way(case.price, trigger, position)}"


def _describe_way(price: int | None, trigger: int, position: Position) -> str:
    if price is None:
        return ""
    bps = get_distance_bps(price, trigger)
    is_at_risk = bps <= 0 if position.is_long else bps >= 0
    turn = "it ends" if is_at_risk else "it trips"
    return f": {turn} where the price {'rises' if bps > 0 else 'falls'} by {show_percent(abs(bps))}"


def _describe_decision(decision: Decision | None) -> Iterator[str]:
    if decision is None:
        yield "decision: none yet"
        return
    yield f"decision: {_describe_act(decision)} ({decision.reason.value}): {describe_reason(decision.reason)}"


def _describe_act(decision: Decision) -> str:
    if isinstance(decision, RefreshHedge):
        return "keep the hedge"
    if isinstance(decision, OpenHedge | ResizeHedge | CloseHedge):
        verb = {OpenHedge: "open", ResizeHedge: "resize", CloseHedge: "close"}[type(decision)]
        return f"{verb} the hedge, {decision.action.value} it by {decision.share.quantity:f} {decision.symbol}"
    return "hold"


def _describe_sized(sized: Sized | None) -> Iterator[str]:
    if sized is not None:
        small = "" if sized.is_large_enough else ", less than the exchange takes"
        worth = _show_rounded(Fraction(sized.notional_usd), 2)
        yield f"it asks for {sized.target:f} {sized.symbol}, worth {worth} USD at the mark {sized.mark.normalize():f}{small}"


def _describe_hedge(case: Case) -> Iterator[str]:
    hedge = case.hedge
    if hedge is None:
        yield "there is no hedge"
        return
    yield f"hedge: {hedge.side.value} {hedge.quantity:f} {hedge.symbol} of {hedge.target:f}, {hedge.status.value}"
    if case.closes_in_s is not None:
        closes = f"in {case.closes_in_s:.0f} s" if case.closes_in_s > 0 else "now"
        yield f"it closes {closes}, unless the risk comes back before"
    yield from _describe_money(case)


def _describe_money(case: Case) -> Iterator[str]:
    figures = case.figures
    if figures is None:
        return
    profit = f"profit {_show_money(case.profit_usd)} USD at the mark" if case.profit_usd is not None else "no mark price"
    others = "".join(f" and {amount:f} {asset}" for asset, amount in sorted(figures.other_fees.items()))
    yield f"so far: {profit}, fees {_show_money(figures.fees_usd)} USD{others}, funding {_show_money(figures.funding_usd)} USD"


def _show_money(amount: Decimal) -> str:
    return _show_rounded(Fraction(amount), 2)
