"""``dehedge explain``, ``trips`` and ``whatif``: ask the running daemon, and print its answer for people or for programs.

Asks over the HTTP API and computes nothing. What the daemon says is printed as it is, without markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from dehedge.client import build_console, check_wide, fetch_answer, format_count, format_usd, show_trader
from dehedge.errors import QuestionInvalid

VIEW_S = 12.0
"""The daemon answers within this time even when the exchange does not."""
SHOWN_MAX = 20
"""Rows of each list of a what-if; ``--json`` has more."""

_MOVE = re.compile(r"(?P<market>[^\s:]+)[\s:]+(?P<percent>[+-]?[0-9.]+)(?: ?%)?")
_WAITING = {
    "opens": "would open",
    "held": "would be refused",
    "closes": "would close at once",
    "liquidated": "would be liquidated",
}


def explain(url: str, market: str, position_id: str, *, use_json: bool) -> int:
    """The answer's own lines."""
    answer = fetch_answer(url, "explain", {"market": market, "position_id": position_id})
    _print(answer, answer["text"], use_json=use_json)
    return 0


def list_trips(url: str, limit: int, *, use_json: bool) -> int:
    """A table, nearest first."""
    answer = fetch_answer(url, "trips", {"limit": str(limit)})
    is_wide = check_wide(build_console())
    table = Table("market", "trader", "side", "size", "price", "trips at", "away", "state")
    for trip in answer["trips"]:
        state = ("at risk, " if trip["is_at_risk"] else "") + ("hedged" if trip["is_hedged"] else "not hedged")
        table.add_row(
            trip["market"], show_trader(trip["position_id"], is_wide=is_wide), "long" if trip["is_long"] else "short", format_usd(trip["size"]),
            trip["price"], trip["trigger_price"] or "at no price", _show_distance(trip["distance_bps"]), state,
        )  # fmt: skip
    _print(answer, [table] if answer["trips"] else ["no positions"], use_json=use_json)
    return 0


def ask_whatif(url: str, words: Sequence[str], *, use_json: bool) -> int:
    """Exit 0 also where something would be refused: that is an answer, too."""
    answer = fetch_answer(url, "whatif", {"move": read_moves(words)}, timeout_s=VIEW_S)
    _print(answer, _describe_whatif(answer), use_json=use_json)
    return 0


def read_moves(words: Sequence[str]) -> list[str]:
    """``BTC-USD -10%``, in one word or in two, as the API takes it. What it may be, the daemon knows."""
    text = " ".join(words).strip()
    moves = []
    while text:
        match = _MOVE.match(text)
        rest = text[match.end() :] if match is not None else text
        if match is None or (rest and not rest.startswith((" ", ","))):
            raise QuestionInvalid(
                f'{text!r} is no move: say a market and a percentage, such as dehedge whatif "BTC-USD -10%"'
            )
        moves.append(f"{match['market']}:{match['percent']}")
        text = rest.strip(" ,")
    return moves


def _print(answer: Mapping[str, Any], shown: Sequence[object] | Iterator[object], *, use_json: bool) -> None:
    if use_json:
        print(json.dumps(answer, indent=2))
        return
    console = build_console()
    for part in shown:
        console.print(part)


def _show_distance(bps: str | None) -> str:
    return f"{float(bps) / 100:+.2f} %" if bps is not None else ""


def _describe_whatif(answer: Mapping[str, Any]) -> Iterator[object]:
    moves = [_describe_move(market, percent, answer["prices"][market]) for market, percent in answer["moves"].items()]
    yield f"if {', '.join(moves)}:"
    yield _describe_margin(answer["margin"])
    vault = {name: format_usd(amount) for name, amount in answer["vault"].items()}
    yield (
        "vault {before} USDC, without hedges {after_unhedged}; traders gain {traders_gain}, open hedges {hedges_gain}"
    ).format(**vault)
    for name, words in _WAITING.items():
        count = answer["counts"][name]
        if not count and name != "opens":
            continue
        yield f"{format_count(count, 'position' if name == 'liquidated' else 'hedge')} {words}"
        if count:
            yield _build_table(answer[name][:SHOWN_MAX])
        if count > SHOWN_MAX:
            yield f"... and {count - SHOWN_MAX} more; --json lists them"
    if answer["counts"]["cooling"]:
        yield f"{format_count(answer['counts']['cooling'], 'hedge')} would cool down: no longer at risk, closed after HEDGE_EXPIRY_SECONDS"


def _describe_move(market: str, percent: str, prices: Mapping[str, str]) -> str:
    sign = "" if percent.startswith("-") else "+"
    return f"{market} moves by {sign}{percent} % from {prices['before']} to {prices['after']}"


def _describe_margin(margin: Mapping[str, str | None]) -> str:
    needed = f"margin needed {format_usd(margin['needed_usd'] or '0')} USD, fees included"
    if margin["error"] is not None:
        return f"{needed}; what is available is unknown: {margin['error']}"
    short = f", SHORT BY {format_usd(margin['short_usd'] or '0')}" if margin["short_usd"] != "0" else ""
    return f"{needed}; available {format_usd(margin['available_usd'] or '0')}{short}"


def _build_table(rows: Sequence[Mapping[str, str | None]]) -> Table:
    """Every figure of the rows in a column of its own; of a position's id, the trader."""
    names = [name for name in rows[0] if name != "guard"]
    table = Table(*("trader" if name == "position_id" else name.replace("_", " ") for name in names))
    is_wide = check_wide(build_console())
    for row in rows:
        table.add_row(*(_show_cell(name, row[name] or "", is_wide=is_wide) for name in names))
    return table


def _show_cell(name: str, text: str, *, is_wide: bool) -> str:
    if name == "position_id":
        return show_trader(text, is_wide=is_wide)
    return format_usd(text) if text and name.endswith("_usd") else text
