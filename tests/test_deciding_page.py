"""The worked example of ``docs/deciding.md``: every figure of it comes from the core, and the page says the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from dehedge.core.decisions import CloseHedge, Decision, OpenHedge, RefreshHedge, ResizeHedge
from dehedge.core.explain import Case, build_case
from dehedge.core.hedging import plan
from dehedge.core.model import Observation
from dehedge.core.policy import HedgingPolicy
from dehedge.core.risk import RiskFactors
from dehedge.core.sizing import Sizing
from dehedge.core.wording import describe_case, show_price, show_usd
from tests.core.builders import (
    BTC,
    NOW,
    USDC,
    a_book,
    a_hedge,
    a_policy,
    a_position,
    a_snapshot,
    a_user,
    a_venue,
    an_observation,
    get_one_before,
    scaled,
    usd,
)

PAGE = (Path(__file__).parents[1] / "docs" / "deciding.md").read_text(encoding="utf-8")
ASSET_UNIT = usd(1)
TRADER = a_position(user=a_user(0xA1), entry_price=scaled(60_000))
GROWN = a_position(user=a_user(0xA1), entry_price=scaled(60_000), size=usd(15_000))
TURNED = a_position(user=a_user(0xA1), entry_price=scaled(60_000), is_long=False)
HEDGE = a_hedge(position=TRADER, quantity="0.166")
CALM, RISKY = 63_500, 64_000


def observe(price: int, *, position=TRADER, previous=TRADER, after_s: int = 0, price_age_s: int = 1) -> Observation:
    """What a pass sees so long after the last risk; None for a position that the snapshot lacks."""
    now = NOW + after_s

    def build(seen):
        return a_snapshot(
            positions=[seen] if seen else [], vault=usd(500_000), shield=usd(600), funding={(USDC, BTC): scaled(5)},
            block_time=int(now) - 2,
        )  # fmt: skip

    base = an_observation(snapshot=build(position), prices={BTC: price}, taken_at=now, price_age_s=price_age_s)
    return replace(base, previous=get_one_before(build(previous)))


def explain(price: int, policy: HedgingPolicy | None = None) -> Case:
    observation, book, chosen = observe(price), a_book(), policy or a_policy()
    (decision,) = plan(observation, book, chosen, a_venue())
    return build_case(observation, book, chosen, a_venue().rules, (TRADER.key, decision))


def show(amount: Fraction | int) -> str:
    return show_usd(amount, ASSET_UNIT)


def list_check_rows() -> Iterator[str]:
    for price in (63_000, 63_630, 64_000):
        risk = explain(price).risk
        assert risk is not None
        fired = ", ".join(f"`{one.value}`" for one in risk.assessment.fired) or "none"
        cells = (risk.price_gain, risk.funding, risk.assessment.pnl, risk.assessment.remaining_vault)
        yield f"| {price:,} | {' | '.join(map(show, cells))} | {fired} |"


def list_factor_rows() -> Iterator[str]:
    for vault, limit in (("1", "1"), ("1.0002", "1"), ("1", "1.0005"), ("0.999", "0.99"), ("1.002", "1")):
        factors = RiskFactors(Fraction(vault), Fraction(limit), Fraction(2, 5), 10_000)
        trigger = explain(63_000, a_policy(factors=factors)).trigger
        assert trigger is not None
        yield f"| {vault} | {limit} | {show_price(trigger)} |"


def list_sizing_rows() -> Iterator[str]:
    for sizing in Sizing:
        sized = explain(RISKY, a_policy(sizing=sizing)).sized
        assert sized is not None
        margin, fee = sized.notional_usd / 20, sized.notional_usd * 5 / 10_000
        gain = sized.target * (66_000 - 64_000)
        yield (
            f"| `{sizing.value}` | {sized.target:f} BTC | {sized.notional_usd:,.2f} | {margin:,.2f} | {fee:,.2f} "
            f"| {gain:,.2f} |"
        )


def describe(decision: Decision) -> str:
    if isinstance(decision, OpenHedge | ResizeHedge | CloseHedge):
        verb = {OpenHedge: "open", ResizeHedge: "resize", CloseHedge: "close"}[type(decision)]
        side = decision.side if decision.action == "increase" else decision.side.opposite
        return f"{verb}: {side.value} {decision.share.quantity:f} | `{decision.reason.value}` |"
    return f"{'keep' if isinstance(decision, RefreshHedge) else 'hold'} | `{decision.reason.value}` |"


LIVES = {
    "at risk, no hedge yet": (observe(RISKY), []),
    "still at risk": (observe(RISKY, after_s=5), [HEDGE]),
    "no longer at risk, for 30 s": (observe(CALM, after_s=30), [HEDGE]),
    "no longer at risk, for 59 s": (observe(CALM, after_s=59), [HEDGE]),
    "no longer at risk, for 60 s": (observe(CALM, after_s=60), [HEDGE]),
    "at risk again after 59 s": (observe(RISKY, after_s=59), [HEDGE]),
    "at risk, and the position has grown to 15,000 USDC": (observe(RISKY, position=GROWN), [HEDGE]),
    "the newest snapshot lacks the position": (observe(RISKY, position=None), [HEDGE]),
    "two snapshots in a row lack it": (observe(RISKY, position=None, previous=None), [HEDGE]),
    "the trader has turned short": (observe(RISKY, position=TURNED), [HEDGE]),
    "the newest price is 11 s old": (observe(CALM, after_s=90, price_age_s=11), [HEDGE]),
}


def list_life_rows() -> Iterator[str]:
    for name, (observation, hedges) in LIVES.items():
        (decision,) = plan(observation, a_book(*hedges), a_policy(), a_venue())
        yield f"| {name} | {describe(decision)}"


@pytest.mark.parametrize("rows", [list_check_rows, list_factor_rows, list_sizing_rows, list_life_rows])
def test_page_has_the_rows_that_the_core_computes(rows):
    assert [row for row in rows() if f"\n{row}\n" not in PAGE] == []


@pytest.mark.parametrize("price", [63_000, RISKY])
def test_page_has_the_explanation_that_the_command_prints(price: int):
    told = "\n".join(describe_case(explain(price)))

    assert f"```text\n{told}\n```" in PAGE


def test_page_names_the_price_at_which_the_risk_begins():
    trigger = explain(63_000).trigger

    assert trigger == scaled("63630")
    assert f"**{show_price(trigger)}**" in PAGE


def test_page_says_how_much_the_trader_gains_on_the_way_that_the_sizes_are_compared_on():
    gain = Decimal(10_000) / 60_000 * 2_000

    assert f"the trader wins {gain:.2f} USDC more" in PAGE
