"""A trader book of what is on chain: every open position that a book can hold, exact, and what is left out counted.

Called by ``dehedge snapshot``; reads nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from dehedge.core.model import ChainSnapshot, Position
from dehedge.replay.model import Trader
from dehedge.replay.sheets import TIME_MAX_S, TIME_MIN_S
from dehedge.replay.traders import Book, check_market_name


class ChainBook(NamedTuple):
    """``left_out`` counts positions by the reason why they are not in the book."""

    book: Book
    left_out: Mapping[str, int]


def build_chain_book(snapshot: ChainSnapshot, asset: str) -> ChainBook:
    """Of the positions in this asset (the address of USDC), sorted by opening."""
    traders: list[Trader] = []
    left_out: Counter[str] = Counter()
    for position in snapshot.positions.values():
        why = _find_obstacle(position, asset)
        if why:
            left_out[why] += 1
        else:
            traders.append(_build_trader(position))
    traders.sort(key=lambda trader: (trader.opened_s, trader.market, trader.user))
    return ChainBook(Book(traders, snapshot.vault, snapshot.shield), left_out)


def _find_obstacle(position: Position, asset: str) -> str:
    if position.asset.lower() != asset.lower():
        return "not in USDC, so never hedged"
    if position.size <= 0:
        return "without a size"
    if not check_market_name(position.market):
        return "with a market name that is no plain word"
    if position.entry_price <= 0 or not TIME_MIN_S <= position.opened_at < TIME_MAX_S:
        return "with an entry price or a time that cannot be"
    return ""


def _build_trader(position: Position) -> Trader:
    return Trader(
        position.market, position.user, position.is_long, position.size, position.collateral, position.entry_price,
        position.opened_at, None,
    )  # fmt: skip
