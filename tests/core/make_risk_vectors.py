"""Writes ``data/risk_vectors.jsonl``: positions with their exact risk, from the Fraction model beside this.

Run ``python -m tests.core.make_risk_vectors`` after a change; the same seed gives the same file. Prices are Pyth's
``price * 10**expo``, as they arrive. Half of the cases stand exactly on the edge of a check, or one base unit from it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from tests.core.risk_model import Case, get_flags, get_pnl

VECTORS = Path(__file__).with_name("data") / "risk_vectors.jsonl"
SEED = 20_260_926
FACTORS = ("0", "0.4", "1", "1.2")
BPS = 10_000
CASES_PER_KIND = 40


@dataclass(frozen=True)
class Vector:
    """A case and how it is written down: what kind it is, its price as Pyth gives it, its factors as texts."""

    kind: str
    case: Case
    pyth_price: int
    expo: int
    factors: tuple[str, str, str]


def build_vectors(seed: int = SEED) -> Iterator[Vector]:
    """Every kind, as often as every other."""
    dice = random.Random(seed)
    for _ in range(CASES_PER_KIND):
        vector = _draw(dice)
        no_tracer = replace(vector.case, tracer=None)
        yield vector
        yield replace(vector, kind="no_tracer", case=no_tracer)
        yield replace(vector, kind="negative_tracers", case=_negate_tracers(vector.case))
        on_grid = _draw_whole(dice)
        for nudge in (-1, 0, 1):
            yield _put_on_shield_edge(on_grid, nudge)
            yield _put_on_vault_edge(on_grid, nudge, on_grid.case.vault_factor, "drawdown")
            yield _put_on_vault_edge(on_grid, nudge, on_grid.case.profit_limit_factor, "profit_limit")


def _draw(dice: random.Random) -> Vector:
    """Anything: no figure fits another."""
    expo = -dice.randrange(3, 13)
    entry, pyth_price = (dice.randrange(1, 10 ** dice.randrange(2, 13)) for _ in range(2))
    return _build(
        dice, "any", expo=expo, pyth_price=pyth_price, entry_ticks=entry,
        size=dice.randrange(1, 10 ** dice.randrange(1, 14)),
        position_tracer=dice.randrange(-(10**19), 10**19), tracer=dice.randrange(-(10**19), 10**19),
    )  # fmt: skip


def _draw_whole(dice: random.Random) -> Vector:
    """Price steps and funding divide the size, so that the profit is a whole number of base units."""
    entry = dice.randrange(2, 10**8)
    position_tracer = dice.randrange(-9, 10) * 10**18
    return _build(
        dice, "whole", expo=-dice.randrange(3, 13), pyth_price=entry + dice.randrange(-entry + 1, entry),
        entry_ticks=entry, size=entry * BPS * dice.randrange(1, 1_000),
        position_tracer=position_tracer, tracer=position_tracer + dice.randrange(-500, 500) * 10**18,
    )  # fmt: skip


def _build(
    dice: random.Random, kind: str, *, expo: int, pyth_price: int, entry_ticks: int, size: int, position_tracer: int,
    tracer: int,
) -> Vector:  # fmt: skip
    factors = (dice.choice(FACTORS), dice.choice(FACTORS), dice.choice(FACTORS))
    one = Fraction(1, 10**-expo)
    case = Case(
        is_long=dice.randrange(2) == 1, size=size, entry_price=entry_ticks * one, price=pyth_price * one,
        position_tracer=position_tracer, tracer=tracer, vault=dice.randrange(10**13) * 10,
        shield=dice.choice((0, dice.randrange(10**12))), vault_factor=Fraction(factors[0]),
        profit_limit_factor=Fraction(factors[1]), interest=Fraction(factors[2]), bps=BPS,
    )  # fmt: skip
    return Vector(kind, case, pyth_price, expo, factors)


def _negate_tracers(case: Case) -> Case:
    now = -abs(case.tracer or 0) - 1
    return replace(case, position_tracer=-abs(case.position_tracer) - 1, tracer=now)


def _put_on_shield_edge(vector: Vector, nudge: int) -> Vector:
    """The shield is the profit, or one base unit beside it."""
    shield = int(get_pnl(vector.case)) + nudge
    return replace(vector, kind=f"shield_edge{nudge:+d}", case=replace(vector.case, shield=shield))


def _put_on_vault_edge(vector: Vector, nudge: int, factor: Fraction, name: str) -> Vector:
    """``vault * factor`` is what remains of the vault, or one base unit beside it."""
    case = vector.case
    shield = case.vault * factor - case.vault + get_pnl(case) + nudge
    assert shield.denominator == 1
    return replace(vector, kind=f"{name}_edge{nudge:+d}", case=replace(case, shield=int(shield)))


def to_line(vector: Vector) -> str:
    case, pnl = vector.case, get_pnl(vector.case)
    drawdown, shield_pnl, hedge = get_flags(case)
    record = {
        "kind": vector.kind,
        "is_long": case.is_long,
        "size": case.size,
        "entry_price": str(int(case.entry_price * 10**18)),
        "pyth_price": vector.pyth_price,
        "pyth_expo": vector.expo,
        "position_tracer": str(case.position_tracer),
        "tracer": None if case.tracer is None else str(case.tracer),
        "vault": case.vault,
        "shield": case.shield,
        "factors": vector.factors,
        "pnl": f"{pnl.numerator}/{pnl.denominator}",
        "is_vault_drawdown": drawdown,
        "is_shield_pnl_risk": shield_pnl,
        "is_hedge": hedge,
    }
    return json.dumps(record)


def main() -> None:
    VECTORS.write_text("".join(f"{to_line(vector)}\n" for vector in build_vectors()), encoding="utf-8")


if __name__ == "__main__":
    main()
