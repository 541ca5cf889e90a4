"""Whose risk has gone, and since when: in the book at once, in the journal once it lasts.

A risk that flickers at its threshold is not worth a row of the journal at every price, and one that lasts is not worth a
write at all: the book knows when each market was last looked at. Called by the reconciler with the decisions of each
pass, before they are carried out; decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from dehedge.core.book import HedgeBook
from dehedge.core.decisions import Decision, RefreshHedge, ResizeHedge
from dehedge.core.events import Event, HedgesCooled, HedgesReheated
from dehedge.core.model import HedgeKey
from dehedge.core.risk import RiskAssessment


class Cooling:
    """``after_s`` is how long a risk has to be gone before that is journaled."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._unwritten: set[HedgeKey] = set()

    def note(self, book: HedgeBook, decisions: Iterable[Decision], markets: Iterable[str], now: float) -> list[Event]:
        """Bring the book up to the looks at these markets, and give what is to be journaled of them."""
        gone, back = _find_changes(book, decisions)
        book.set_cooling(gone, is_cooling=True)
        self._unwritten.update(gone)
        book.note_judged(markets, now)
        book.set_cooling(back, is_cooling=False)
        return [*self._build_reheated(back, now), *self._build_cooled(book, now)]

    def _build_reheated(self, back: list[HedgeKey], now: float) -> Iterable[Event]:
        written = tuple(key for key in back if key not in self._unwritten)
        self._unwritten.difference_update(back)
        if written:
            yield HedgesReheated(written, now)

    def _build_cooled(self, book: HedgeBook, now: float) -> Iterable[Event]:
        hedges = book.get_all_hedged_positions()
        # A hedge may have been closed meanwhile, and another one built for its position.
        self._unwritten = {key for key in self._unwritten if key in hedges and hedges[key].is_cooling}
        lasting = [key for key in self._unwritten if now - hedges[key].placed_at >= self._after_s]
        self._unwritten.difference_update(lasting)
        if lasting:
            yield HedgesCooled(tuple((key, hedges[key].placed_at) for key in sorted(lasting)))


def _find_changes(book: HedgeBook, decisions: Iterable[Decision]) -> tuple[list[HedgeKey], list[HedgeKey]]:
    """The held hedges whose risk has gone since the last look, and those whose risk came back."""
    gone: list[HedgeKey] = []
    back: list[HedgeKey] = []
    for decision in decisions:
        hedge, assessment = book.get_hedged_position(decision.key), decision.assessment
        if hedge is not None and assessment is not None and _check_lasts(decision, assessment) is hedge.is_cooling:
            (back if hedge.is_cooling else gone).append(hedge.key)
    return gone, back


def _check_lasts(decision: Decision, assessment: RiskAssessment) -> bool:
    """A hedge that is kept for what the positions risk together is kept for a risk."""
    return assessment.at_risk or isinstance(decision, RefreshHedge | ResizeHedge)
