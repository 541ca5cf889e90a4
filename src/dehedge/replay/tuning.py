"""Which settings to take: what is chosen on some windows, and what that is worth on another.

Pure. Chosen are the cheapest of those that avoid at least a share of the loss at worst, before cost; where none does, the most
protective; of equals the one that changes less. A fold is always shown on what it was not chosen on. Called by ``tune_session``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from dehedge.replay.study import Pooled, Sample, pool

WORSE = Decimal("0.5")
"""By how much out of sample may be worse before it is said in a sentence."""


class Fold(NamedTuple):
    """Windows by name: settings are chosen on some and shown on another."""

    chosen_on: Sequence[str]
    shown_on: str


class Chosen(NamedTuple):
    """What a fold chose, in and out of sample."""

    fold: Fold
    name: str
    inside: Pooled
    outside: Pooled


@dataclass(frozen=True, slots=True)
class Tuned:
    """The folds, all that was tried over all windows, which of it no other beats, and what is chosen on everything."""

    folds: Sequence[Chosen]
    tried: Mapping[str, Pooled]
    front: Sequence[str]
    overall: str


def build_folds(windows: Sequence[str], *, are_in_order: bool) -> list[Fold]:
    """Of parts in order each but the first, chosen on all before it; else each window, chosen on all others."""
    if are_in_order:
        return [Fold(windows[:place], windows[place]) for place in range(1, len(windows))]
    return [Fold([each for each in windows if each != left], left) for left in windows]


def tune(samples: Sequence[Sample], names: Sequence[str], folds: Sequence[Fold], protection: Decimal) -> Tuned:
    """``protection`` is the share of the loss at worst that should be avoided, before cost."""
    tried = {name: pool(samples, name) for name in names}
    chosen = [_choose_fold(samples, names, fold, protection) for fold in folds]
    return Tuned(chosen, tried, find_front(tried), choose(tried, protection))


def _choose_fold(samples: Sequence[Sample], names: Sequence[str], fold: Fold, protection: Decimal) -> Chosen:
    known = [each for each in samples if each.window in fold.chosen_on]
    pooled = {name: pool(known, name) for name in names}
    name = choose(pooled, protection)
    return Chosen(fold, name, pooled[name], pool([each for each in samples if each.window == fold.shown_on], name))


def choose(tried: Mapping[str, Pooled], protection: Decimal) -> str:
    """Of at least one. Where nothing was lost everything protects, and the cheapest is chosen."""
    enough = [name for name, each in tried.items() if each.protection is None or each.protection >= protection]
    if enough:
        return min(enough, key=lambda name: (tried[name].cost, count_changes(name)))
    return min(tried, key=lambda name: (-(tried[name].protection or 0), tried[name].cost, count_changes(name)))


def count_changes(name: str) -> int:
    """Of settings, in a policy's text."""
    return name.count(":")


def find_front(tried: Mapping[str, Pooled]) -> list[str]:
    """By cost, those that avoid more than every cheaper one; of equals the simpler."""
    front: list[str] = []
    for name in sorted(tried, key=lambda name: (tried[name].cost, -tried[name].avoided, count_changes(name))):
        if not front or tried[name].avoided > tried[front[-1]].avoided:
            front.append(name)
    return front


def check_protection_holds(chosen: Chosen) -> bool:
    """False where out of sample less than a half is avoided of what is in sample."""
    inside, outside = chosen.inside.protection, chosen.outside.protection
    return inside is None or outside is None or inside <= 0 or outside >= inside * WORSE


def check_cost_holds(chosen: Chosen) -> bool:
    """False where out of sample each dollar avoided costs more by over a half."""
    inside, outside = chosen.inside.cost_share, chosen.outside.cost_share
    return inside is None or outside is None or inside < 0 or outside <= inside * (1 + WORSE)
