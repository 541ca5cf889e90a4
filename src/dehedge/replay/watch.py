"""What the book takes for granted between two moments at which something may be decided.

Kept by the engine, hedge by hedge as they change, and read by the screen: by row of the story whether its position is
expected to be safe or at risk, which hedges have to be looked at in any case, and from when on time alone may decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from dehedge.core.book import HedgeBook, HedgedPosition
from dehedge.core.model import HedgeKey
from dehedge.replay.model import Floats
from dehedge.replay.path import SECOND_US, Whole
from dehedge.replay.story import NEVER_US, Story
from dehedge.replay.view import BLOCK_US

EARLY_US = 1_000
"""Ages are counted in floats: what comes of age is looked at so much before."""


class Expected(IntEnum):
    """Of a position: safe without a hedge, safe and its hedge cooling, at risk and hedged."""

    QUIET = 0
    COOLING = 1
    RISKY = 2


class Account(NamedTuple):
    """What may be liquidated by itself, nearly: ``base`` is what stands for its coins less what they cost, ``coins`` are by market."""

    base: float
    coins: Floats
    maintenance: float


class Watch:
    """The expectations of one run."""

    def __init__(self, story: Story, expiry_s: float) -> None:
        self.expected: Whole = np.zeros(len(story.positions), dtype=np.int64)
        self.loose: set[HedgeKey] = set()
        self.accounts: Sequence[Account] = ()
        self.funding_us = NEVER_US
        self._story = story
        self._expiry_s = expiry_s
        self._rows: dict[HedgeKey, int] = {}
        self._known = frozenset[int]()
        self._unasked = set[int]()
        self._dues_us: dict[HedgeKey, int] = {}

    @property
    def due_us(self) -> int:
        """When time alone may decide something."""
        return min(self.funding_us, min(self._dues_us.values(), default=NEVER_US))

    def list_rows(self) -> Whole:
        """The rows of the hedges, sorted."""
        return np.array(sorted(self._rows.values()), dtype=np.int64)

    def check_among(self, rows: frozenset[int]) -> bool:
        """True where all hedges are among these rows, which are the same object from one question to the next."""
        if rows is not self._known:
            self._known, self._unasked = rows, set(self._rows.values())
        is_among = rows.issuperset(self._unasked)
        if is_among:
            self._unasked.clear()
        return is_among

    def list_due(self, now_us: int) -> list[HedgeKey]:
        return [key for key, due_us in self._dues_us.items() if due_us <= now_us]

    def update(self, keys: Iterable[HedgeKey], book: HedgeBook, now_us: int) -> None:
        """Look at these hedges again, by the newest block of now."""
        seen_us = now_us // BLOCK_US * BLOCK_US
        for key in keys:
            self._forget(key)
            hedge = book.get_hedged_position(key)
            if hedge is not None:
                self._note(key, hedge, self._story.find_row(key, seen_us))

    def _forget(self, key: HedgeKey) -> None:
        row = self._rows.pop(key, None)
        if row is not None:
            self.expected[row] = Expected.QUIET
        self._dues_us.pop(key, None)
        self.loose.discard(key)

    def _note(self, key: HedgeKey, hedge: HedgedPosition, row: int | None) -> None:
        if row is not None:
            self._rows[key] = row
            self._unasked.add(row)
            self.expected[row] = Expected.COOLING if hedge.is_cooling else Expected.RISKY
        if row is None or hedge.quantity != hedge.target:
            self.loose.add(key)
        if hedge.is_cooling:
            self._dues_us[key] = int((hedge.placed_at + self._expiry_s) * SECOND_US) - EARLY_US
