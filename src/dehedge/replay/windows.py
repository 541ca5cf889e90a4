"""The prices of a replay: one history of --prices, or several of --window, each a time of its own.

Reads and cuts them, and says in words what was read. A bad option is a ``QuestionInvalid``, a bad file a ``ConfigError``. Called
by ``request``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from dehedge.errors import QuestionInvalid
from dehedge.replay.funding import read_funding
from dehedge.replay.klines import find_gaps, read_klines
from dehedge.replay.model import Bars, FundingRate
from dehedge.replay.options import Options, parse_moment
from dehedge.replay.sheets import format_time

_MARKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
DAY_S = 86_400
NO_PRICES = "--prices: give BTC-USD=FILE; only `dehedge replay` takes a .zip of `dehedge bundle` instead"


class Window(NamedTuple):
    """A time that is replayed by itself; ``name`` is empty where there is but one."""

    name: str
    bars: Mapping[str, Bars]
    funding: Mapping[str, Sequence[FundingRate]]


def read_windows(options: Options) -> list[Window]:
    """At least one. Raises ``ConfigError`` and ``QuestionInvalid``."""
    if options.prices and options.windows:
        raise QuestionInvalid("--prices and --window: give one of them")
    groups = _group_windows(options.windows) if options.windows else {"": options.prices}
    files = {name: parse_files("--window" if name else "--prices", texts) for name, texts in groups.items()}
    if not all(files.values()):
        raise QuestionInvalid(NO_PRICES)
    bars = {
        name: _cut({market: read_klines(market, paths) for market, paths in each.items()}, options)
        for name, each in files.items()
    }
    funding = _read_funding(options, {market for each in bars.values() for market in each})
    return [Window(name, each, _pick(funding, each)) for name, each in bars.items()]


def parse_files(option: str, texts: Sequence[str]) -> dict[str, list[Path]]:
    """``BTC-USD=FILE,FILE``; a market may come again."""
    files: dict[str, list[Path]] = {}
    for text in texts:
        market, _, names = text.partition("=")
        paths = [Path(name) for name in names.split(",") if name]
        if not _MARKET.fullmatch(market) or not paths:
            raise QuestionInvalid(f"{option}: {text[:80]!r} is not such as BTC-USD=FILE,FILE")
        files.setdefault(market, []).extend(paths)
    return files


def _group_windows(texts: Sequence[str]) -> dict[str, list[str]]:
    """``NAME:BTC-USD=FILE``; a name may come again, with another market."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise QuestionInvalid(f"--window: {text[:80]!r} is not such as NAME:BTC-USD=FILE,FILE")
        groups.setdefault(name, []).append(rest)
    return groups


def _read_funding(options: Options, markets: set[str]) -> Mapping[str, Sequence[FundingRate]]:
    files = parse_files("--funding", options.funding)
    unknown = [market for market in files if market not in markets]
    if unknown:
        raise QuestionInvalid(f"--funding: {unknown[0]} has no --prices")
    return {market: read_funding(paths) for market, paths in files.items()}


def _pick(
    funding: Mapping[str, Sequence[FundingRate]], bars: Mapping[str, Bars]
) -> Mapping[str, Sequence[FundingRate]]:
    return {market: rates for market, rates in funding.items() if market in bars}


def _cut(bars: Mapping[str, Bars], options: Options) -> dict[str, Bars]:
    """What lies between --from and --to."""
    since = parse_moment("--from", options.since) if options.since else 0
    until = parse_moment("--to", options.until) if options.until else 2**40
    if since >= until:
        raise QuestionInvalid(f"--from: {format_time(since)} is not before --to: {format_time(until)}")
    cut = {market: cut_bars(each, since, until) for market, each in bars.items()}
    for market, each in cut.items():
        if not len(each.start_s):
            told = describe_span(get_span({market: bars[market]}))
            raise QuestionInvalid(f"--from, --to: {market} has no prices in that time; it has {told}")
    return cut


def cut_bars(bars: Bars, since_s: int, until_s: int) -> Bars:
    """The bars that begin from then on and before then."""
    kept = (bars.start_s >= since_s) & (bars.start_s < until_s)
    opened, high, low, close = (column[kept] for column in (bars.open, bars.high, bars.low, bars.close))
    return Bars(bars.market, bars.start_s[kept], bars.step_s, opened, high, low, close, bars.quote_volume[kept])


def split_window(window: Window, count: int) -> list[Window]:
    """Parts of the same length in time, by number. Raises ``QuestionInvalid`` where a market has no bars in one."""
    first_s, last_s = get_span(window.bars)
    edges = [first_s + (last_s - first_s) * place // count for place in range(count + 1)]
    parts = []
    for number, (since_s, until_s) in enumerate(pairwise(edges), start=1):
        bars = {market: cut_bars(each, since_s, until_s) for market, each in window.bars.items()}
        empty = next((market for market, each in bars.items() if not len(each.start_s)), None)
        if empty is not None:
            raise QuestionInvalid(f"--folds: {empty} has no prices in part {number} of {count}; give fewer folds")
        parts.append(Window(f"part {number}", bars, window.funding))
    return parts


def get_span(bars: Mapping[str, Bars]) -> tuple[int, int]:
    """From the first price of any market until the last."""
    first = min(int(each.start_s[0]) for each in bars.values())
    return first, max(int(each.start_s[-1]) + each.step_s for each in bars.values())


def describe_window(window: Window) -> list[str]:
    """What was read, in words."""
    name = f"{window.name}: " if window.name else ""
    notes = [f"{name}{_describe_bars(market, each)}" for market, each in window.bars.items()]
    without = [market for market in window.bars if market not in window.funding]
    if without:
        notes.append(f"{name}without funding rates: {', '.join(without)}; there the hedges pay and get none")
    first_s, last_s = get_span(window.bars)
    notes += [
        f"{name}no funding rate of {market} falls into these prices: the hedges pay and get none"
        for market, rates in window.funding.items()
        if not any(first_s <= rate.at_s < last_s for rate in rates)
    ]
    notes += [
        f"{name}{market}: prices end at {format_time(end_s)}, before others do: what is opened there later sees none"
        for market, end_s in find_early_ends(window.bars).items()
    ]
    return notes


def find_early_ends(bars: Mapping[str, Bars]) -> dict[str, int]:
    """When the prices of those markets end that end before the last one does."""
    last_s = get_span(bars)[1]
    ends = {market: get_span({market: each})[1] for market, each in bars.items()}
    return {market: end_s for market, end_s in ends.items() if end_s < last_s}


def describe_span(span: tuple[int, int]) -> str:
    """From and until, in words."""
    return f"{format_time(span[0])} to {format_time(span[1])}"


def tell_count(count: int, noun: str) -> str:
    """One or several of them, in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _describe_bars(market: str, bars: Bars) -> str:
    gaps = find_gaps(bars)
    told = f"{market}: {tell_count(len(bars.start_s), 'bar')} of {bars.step_s} s, {describe_span(get_span({market: bars}))}"
    if not gaps:
        return told
    longest = max(gaps, key=lambda gap: gap.missing_s)
    missing_s = sum(gap.missing_s for gap in gaps)
    hint = "; the time in it is lived through without prices: --window pools separate files" if longest.missing_s > DAY_S else ""
    return (
        f"{told}; {tell_count(len(gaps), 'gap')} of {missing_s:,} s in all, the longest of {longest.missing_s:,} s from"
        f" {format_time(longest.from_s)}: no price moves there{hint}"
    )
