"""Many runs as one answer: what a policy avoided and cost over all books and windows, in USD.

Pure and exact, and the order of the runs counts for nothing. Stands on the worst moment of each run: a crash whose prices come back
has no loss at its end. Called by ``session`` and ``tuning``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import NamedTuple

from dehedge.replay.model import Figures

ZERO = Decimal(0)
HARM_MIN = Decimal("0.001")
"""Of gross: how much worse than unhedged a book may be before it counts as harmed."""


class Sample(NamedTuple):
    """One book in one window: ``gross`` in USD was open at first, and ``years`` is how long it lasted."""

    window: str
    seed: int
    gross: Decimal
    years: Decimal
    figures: Mapping[str, Figures]


class Harm(NamedTuple):
    """A book that is worse than unhedged, by a share of its gross; ``moment`` is worst or last."""

    share: Decimal
    window: str
    seed: int
    moment: str


@dataclass(frozen=True, slots=True)
class Pooled:
    """One policy over many books.

    ``loss`` is the sum of what the vaults lack at their worst moments unhedged, ``avoided`` of that what the hedges had
    avoided if they cost nothing; ``protection`` is that share, ``net_protection`` the same with their cost, and
    ``median_protection`` and ``median_net`` are the medians over the books that lose. ``cost_share`` is the cost of all runs to
    their ends by what was avoided, ``cost_per_year`` by the vaults and the years. ``harmed_*`` count the books that are worse
    than unhedged by more than ``HARM_MIN`` of gross. Shares of nothing are None.
    """

    books: int
    losing: int
    loss: Decimal
    avoided: Decimal
    protection: Decimal | None
    net_protection: Decimal | None
    median_protection: Decimal | None
    median_net: Decimal | None
    cost: Decimal
    cost_share: Decimal | None
    cost_per_year: Decimal | None
    harmed_at_worst: int
    harmed_at_last: int
    harm: Harm | None


class _Book(NamedTuple):
    """One sample under one policy, at its worst moments."""

    loss: Decimal
    avoided: Decimal
    net: Decimal


def pool(samples: Sequence[Sample], name: str) -> Pooled:
    """Of the policy of that name, which every sample has; of no samples it is all zero."""
    runs = [each.figures[name] for each in samples]
    books = [_measure(figures) for figures in runs]
    losing = [book for book in books if book.loss > 0]
    loss, avoided = _add(book.loss for book in books), _add(book.avoided for book in books)
    cost = _add(figures.cost for figures in runs)
    vault_years = _add(each.figures[name].vault_start * each.years for each in samples)
    harms = sorted(harm for each in samples for harm in _list_harms(each, each.figures[name]))
    return Pooled(
        books=len(books), losing=len(losing), loss=loss, avoided=avoided, protection=_divide(avoided, loss),
        net_protection=_divide(_add(book.net for book in books), loss),
        median_protection=_find_median(book.avoided / book.loss for book in losing),
        median_net=_find_median(book.net / book.loss for book in losing), cost=cost,
        cost_share=_divide(cost, avoided), cost_per_year=_divide(cost, vault_years),
        harmed_at_worst=sum(harm.moment == "worst" for harm in harms),
        harmed_at_last=sum(harm.moment == "last" for harm in harms), harm=harms[-1] if harms else None,
    )  # fmt: skip


def pool_windows(samples: Sequence[Sample], name: str) -> dict[str, Pooled]:
    """By window, in the order of their first samples."""
    windows = dict.fromkeys(each.window for each in samples)
    return {window: pool([each for each in samples if each.window == window], name) for window in windows}


def get_protection(figures: Figures) -> Decimal | None:
    """The share of one book's worst moment that its hedges avoided before their cost."""
    book = _measure(figures)
    return _divide(book.avoided, book.loss)


def _measure(figures: Figures) -> _Book:
    worst = figures.worst_unhedged
    return _Book(figures.vault_start - worst, figures.worst_hedged_free - worst, figures.worst_hedged - worst)


def _list_harms(sample: Sample, figures: Figures) -> list[Harm]:
    if sample.gross <= 0:
        return []
    lacks = {
        "worst": figures.worst_unhedged - figures.worst_hedged,
        "last": figures.vault_unhedged - figures.vault_hedged,
    }
    harms = (Harm(lack / sample.gross, sample.window, sample.seed, moment) for moment, lack in lacks.items())
    return [harm for harm in harms if harm.share > HARM_MIN]


def _add(amounts: Iterable[Decimal]) -> Decimal:
    """Sorted, so that not even a rounding depends on the order."""
    return sum(sorted(amounts), ZERO)


def _divide(part: Decimal, whole: Decimal) -> Decimal | None:
    return part / whole if whole > 0 else None


def _find_median(shares: Iterable[Decimal]) -> Decimal | None:
    found = sorted(shares)
    return median(found) if found else None
