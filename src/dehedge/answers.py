"""Explanations, trips and what-ifs as plain JSON data: money, prices and quantities as strings, every digit of them.

Pure; called by ``insight`` alone. What ratio gives no end of digits is cut at the asset's base unit, and stands beside it
as a fraction where a decision hangs on it. Long lists end after ``ROWS_MAX`` rows, and ``counts`` tells of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

from dehedge.core.decisions import CloseHedge, Hold, ResizeHedge
from dehedge.core.explain import Case, Check, Sized
from dehedge.core.guard_report import GUARDS
from dehedge.core.model import HedgeKey, Position, Stance
from dehedge.core.trips import Trip, get_distance_bps
from dehedge.core.whatif import Liquidated, Losses, Margin, Opening, Outcome, Scene
from dehedge.core.wording import describe_case, describe_reason, describe_stance, show_exact

PRICE_DECIMALS = 18
ROWS_MAX = 1_000

Row = Mapping[str, object]


def describe_explanation(case: Case, hedge: Row | None) -> Row:
    """``hedge`` is what is shown of it elsewhere as well."""
    decision = case.decision
    return {
        **_name(case.key),
        "decision": type(decision).__name__ if decision is not None else None,
        "reason": decision.reason.value if decision is not None else None,
        "position": _describe_position(case, case.position) if case.position is not None else None,
        "capital": {
            "vault": _show_amount(case.capital.vault, case.asset_unit),
            "shield": _show_amount(case.capital.shield, case.asset_unit),
        },
        "checks": [_describe_check(check, case.asset_unit) for check in case.risk.checks]
        if case.risk is not None
        else [],
        "trigger_price": _show_price(case.trigger),
        "price": _show_price(case.price),
        "distance_bps": _show_distance(case.price, case.trigger),
        "sizing": _describe_sized(case.sized) if case.sized is not None else None,
        "hedge": hedge,
        "closes_in_s": case.closes_in_s,
        "text": describe_case(case),
    }


def describe_standing(stance: Stance, asset_unit: int) -> Row:
    """How the traders stand together; shares are of their net position."""
    amounts = ("profit", "limit", "room", "swing", "exposure")
    return {
        **{name: _show_amount(getattr(stance, name), asset_unit) for name in amounts},
        "hedged": f"{float(stance.held):.4f}",
        "wanted": f"{float(stance.level):.4f}",
        "is_fast": stance.is_fast,
        "text": describe_stance(stance, asset_unit),
    }


def describe_trip(trip: Trip, *, asset_unit: int, is_hedged: bool) -> Row:
    return {
        **_name(trip.key),
        "is_long": trip.position.is_long,
        "size": _show_amount(trip.position.size, asset_unit),
        "price": _show_price(trip.price),
        "trigger_price": _show_price(trip.trigger),
        "distance_bps": _show_distance(trip.price, trip.trigger),
        "is_at_risk": trip.is_at_risk,
        "is_hedged": is_hedged,
    }


def describe_outcome(scene: Scene, outcome: Outcome, *, account_error: str | None) -> Row:
    """``account_error`` is why margin and liquidations are not known."""
    lists: Mapping[str, list[Row]] = {
        "opens": [_describe_opening(opening) for opening in outcome.opens[:ROWS_MAX]],
        "held": [_describe_held(hold) for hold in outcome.held[:ROWS_MAX]],
        "closes": [_describe_reduction(close) for close in outcome.closes[:ROWS_MAX]],
        "cooling": [_name(key) for key in outcome.cooling[:ROWS_MAX]],
        "liquidated": [_describe_liquidated(found) for found in outcome.liquidated[:ROWS_MAX]],
    }
    return {
        "moves": {market: f"{percent:f}" for market, percent in scene.moves.items()},
        "prices": {
            market: {"before": _show_price(before), "after": _show_price(after)}
            for market, (before, after) in outcome.prices.items()
        },
        **lists,
        "counts": {name: len(getattr(outcome, name)) for name in lists},
        "margin": {**_describe_margin(outcome.margin), "error": account_error},
        "vault": _describe_losses(outcome.losses, scene.policy.asset_unit),
    }


def _name(key: HedgeKey) -> Row:
    return {"market": key.market, "position_id": key.position_id}


def _show_price(price: int | None) -> str | None:
    return show_exact(price, PRICE_DECIMALS) if price is not None else None


def _show_amount(amount: int | Fraction, asset_unit: int) -> str:
    """To the base unit, cut toward zero."""
    return f"{Decimal(int(amount)) / asset_unit:f}"


def _show_usd(amount: Decimal) -> str:
    """To the hundredth of a cent, up: what is needed is not told as less."""
    return f"{amount.quantize(Decimal('0.0001'), rounding=ROUND_CEILING).normalize():f}"


def _show_distance(price: int | None, trigger: int | None) -> str | None:
    if price is None or trigger is None:
        return None
    return show_exact(round(get_distance_bps(price, trigger) * 100), 2)


def _describe_position(case: Case, position: Position) -> Row:
    """Amounts of another asset are in its own base units, which nobody here knows."""
    unit = case.asset_unit if case.is_ours else 1
    risk = case.risk
    return {
        "user": position.user,
        "asset": position.asset,
        "is_long": position.is_long,
        "size": _show_amount(position.size, unit),
        "collateral": _show_amount(position.collateral, unit),
        "entry_price": _show_price(position.entry_price),
        "opened_at": position.opened_at,
        "pnl": _show_amount(risk.assessment.pnl, unit) if risk is not None else None,
        "price_gain": _show_amount(risk.price_gain, unit) if risk is not None else None,
        "funding": _show_amount(risk.funding, unit) if risk is not None else None,
        "remaining_vault": _show_amount(risk.assessment.remaining_vault, unit) if risk is not None else None,
    }


def _describe_check(check: Check, asset_unit: int) -> Row:
    return {
        "name": check.risk.value,
        "fired": check.has_fired,
        "left": _show_amount(check.left, asset_unit),
        "relation": ">" if check.is_strict else "<=",
        "right": _show_amount(check.right, asset_unit),
        "margin": _show_amount(check.margin, asset_unit),
        "unit": "USDC",
        "exact": {"left": str(check.left / asset_unit), "right": str(check.right / asset_unit)},
    }


def _describe_sized(sized: Sized) -> Row:
    return {
        "symbol": sized.symbol,
        "target": f"{sized.target:f}",
        "mark": f"{sized.mark.normalize():f}",
        "notional_usd": _show_usd(sized.notional_usd),
        "is_large_enough": sized.is_large_enough,
    }


def _describe_opening(opening: Opening) -> Row:
    """``action`` is "open", or "increase" where there is a hedge already; ``target`` what it grows to over more orders."""
    trade = opening.trade
    return {
        **_name(trade.key),
        "symbol": trade.symbol,
        "side": trade.side.value,
        "action": "increase" if isinstance(trade, ResizeHedge) else "open",
        "quantity": f"{trade.share.quantity:f}",
        "target": f"{trade.share.target:f}",
        "notional_usd": _show_usd(opening.notional_usd),
        "margin_usd": _show_usd(opening.margin_usd),
        "reason": trade.share.reason,
    }


def _describe_held(hold: Hold) -> Row:
    return {
        **_name(hold.key),
        "reason": hold.reason.value,
        "guard": GUARDS.get(hold.reason),
        "text": describe_reason(hold.reason),
    }


def _describe_reduction(close: CloseHedge | ResizeHedge) -> Row:
    return {
        **_name(close.key),
        "symbol": close.symbol,
        "side": close.side.value,
        "quantity": f"{close.share.quantity:f}",
        "reason": close.reason.value,
    }


def _describe_liquidated(found: Liquidated) -> Row:
    holding = found.holding
    return {
        "symbol": holding.symbol,
        "leg": holding.leg.value,
        "quantity": f"{holding.quantity:f}",
        "liquidation_price": f"{holding.liquidation_price:f}" if holding.liquidation_price is not None else None,
        "price": f"{found.mark.normalize():f}",
    }


def _describe_margin(margin: Margin) -> Row:
    return {name: _show_usd(amount) if amount is not None else None for name, amount in margin._asdict().items()}


def _describe_losses(losses: Losses, asset_unit: int) -> Row:
    return {
        "before": _show_amount(losses.vault, asset_unit),
        "after_unhedged": _show_amount(losses.after_unhedged, asset_unit),
        "traders_gain": _show_amount(losses.traders_gain, asset_unit),
        "hedges_gain": _show_amount(losses.hedges_gain, asset_unit),
    }
