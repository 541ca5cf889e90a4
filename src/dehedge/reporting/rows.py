"""A report as plain JSON data: amounts are strings that lose nothing, times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from dehedge.core.flows import Amounts, Sums
from dehedge.core.report import HedgeReport, Report

Data = Mapping[str, object]


def build_report_data(report: Report) -> Data:
    return {
        "since": report.since,
        "until": report.until,
        "totals": build_sums(report.sums),
        "foreign_funding": build_amounts(report.foreign_funding),
        "markets": [
            {
                "market": market.market,
                "totals": build_sums(market.sums),
                "hedges": [build_hedge(hedge) for hedge in market.hedges],
            }
            for market in report.markets
        ],
    }


def build_hedge(hedge: HedgeReport) -> Data:
    life = hedge.life
    return {
        "market": life.key.market,
        "position_id": life.key.position_id,
        "symbol": life.symbol,
        "side": life.side.value,
        "opened_at": life.opened_at,
        "opened_for": life.fills[0].reason,
        "closed_at": life.closed_at,
        "closed_for": life.fills[-1].reason if life.closed_at is not None else "",
        "quantity": show(hedge.quantity),
        "held": show(life.fills[-1].held),
        "price_in": show(hedge.price_in),
        "price_out": show(hedge.price_out),
        **build_sums(hedge.sums),
        "standing": build_standing(hedge),
    }


def build_standing(hedge: HedgeReport) -> Data | None:
    standing = hedge.standing
    if standing is None:
        return None
    return {
        "price": show(standing.seen.price),
        "price_at": standing.seen.at,
        "unrealized_usd": show(standing.unrealized_usd),
        "vault_loss_without_usd": show(standing.trader_gain_usd),
    }


def build_sums(sums: Sums) -> Data:
    return {
        "opened": sums.opened,
        "closed": sums.closed,
        "traded_usd": show(sums.traded_usd),
        "slippage_usd": show(sums.slippage_usd),
        "slippage_bps": show(sums.slippage_bps),
        "fees": build_amounts(sums.fees),
        "fees_usd": show(sums.fees_usd),
        "funding": build_amounts(sums.funding),
        "funding_usd": show(sums.funding_usd),
        "realized_usd": show(sums.realized_usd),
        "net_usd": show(sums.net_usd),
        "vault_loss_without_usd": show(sums.trader_gain_usd),
        "estimated_fills": int(sums.estimates),
    }


def build_amounts(amounts: Amounts) -> Mapping[str, str | None]:
    return {asset: show(amount) for asset, amount in sorted(amounts.items()) if amount}


def show(amount: Decimal | None) -> str | None:
    """Plain decimal without an exponent and without zeros that say nothing."""
    return f"{amount.normalize() + 0:f}" if amount is not None else None


def round_usd(amount: Decimal) -> str:
    """To the cent, for people."""
    return f"{round(amount, 2) + 0:,.2f}"


def round_price(price: Decimal | None) -> str:
    """To seven digits, for people; nothing where there is none."""
    if price is None:
        return ""
    places = max(0, 6 - price.adjusted())
    return f"{round(price, min(places, 10)).normalize():f}"


def round_bps(bps: Decimal | None) -> str:
    return f"{bps:.2f}" if bps is not None else ""


def describe_others(amounts: Amounts) -> str:
    """What is not in dollars, each with its asset."""
    return ", ".join(f"{show(amount)} {asset}" for asset, amount in sorted(amounts.items()) if amount and "USD" not in asset)
