"""From the options of ``dehedge replay`` to what the engine takes: files read, books made, times and amounts understood.

Everything is read and checked before anything runs. A bad option is a ``QuestionInvalid``, a bad file a ``ConfigError``. Called
by ``session``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from dehedge.errors import ConfigError, QuestionInvalid
from dehedge.markets import MARKETS_FILE, read_markets
from dehedge.replay.choices import build_policies, read_replay_settings
from dehedge.replay.funding import read_funding
from dehedge.replay.generator import generate_traders, parse_plan
from dehedge.replay.klines import find_gaps, read_klines
from dehedge.replay.model import USDC_UNIT, Bars, Costs, History, Policy, Trader
from dehedge.replay.sheets import format_time, parse_time
from dehedge.replay.traders import Book, read_book

GENERATE_DEFAULT = "seed=1"
VAULT_DEFAULT, SHIELD_DEFAULT = "20%", "1%"
_AMOUNT = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?")
_MARKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
BPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """As they are typed."""

    prices: Sequence[str]
    funding: Sequence[str] = ()
    book: Path | None = None
    generate: str = ""
    at_start: bool = False
    vault: str = ""
    shield: str = ""
    policies: Sequence[str] = ()
    since: str = ""
    until: str = ""
    fees_bps: str = "5"
    spread_bps: str = "0.5"
    depth_usd: str = "1000000"
    latency_s: float = 0.5
    exchange_latency_s: float = 0.25
    outages: Sequence[str] = ()
    margin_usd: str = "1000000"
    leverage: int | None = None
    maintenance_percent: str = "0.5"


class Request(NamedTuple):
    """What is to be run. ``notes`` say in words what was read and what was taken for granted."""

    history: History
    costs: Costs
    policies: Sequence[Policy]
    notes: Sequence[str]


def build_request(options: Options) -> Request:
    """Raises ``ConfigError`` for files and settings, ``QuestionInvalid`` for options."""
    costs = build_costs(options)
    files = parse_files("--prices", options.prices)
    if not files:
        raise QuestionInvalid("--prices: give BTC-USD=FILE, or a .zip of `dehedge bundle` instead")
    policies = build_policies(options.policies, get_symbols(list(files)))
    bars = _cut({market: read_klines(market, paths) for market, paths in files.items()}, options)
    history, notes = _build_history(options, bars)
    return Request(history, costs, policies, [*_describe_bars(bars), *notes])


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


def get_symbols(markets: Sequence[str]) -> dict[str, str]:
    """Of markets.toml where there is one, and else by the usual name."""
    known = read_markets(read_replay_settings().connector) if MARKETS_FILE.exists() else {}
    return {market: known.get(market) or f"{market.split('-')[0]}USDT" for market in markets}


def build_costs(options: Options) -> Costs:
    """What hedging costs. Raises ``QuestionInvalid``."""
    return Costs(
        taker_fee=_parse_number("--fees", options.fees_bps, 1_000) / BPS,
        half_spread_bps=_parse_number("--spread", options.spread_bps, 1_000),
        depth_usd=_parse_number("--depth", options.depth_usd, 10**15),
        latency_s=options.latency_s,
        exchange_latency_s=options.exchange_latency_s,
        outages=sorted(map(_parse_outage, options.outages)),
        margin_usd=_parse_number("--margin", options.margin_usd, 10**15),
        leverage=options.leverage if options.leverage is not None else read_replay_settings().leverage,
        maintenance=_parse_number("--maintenance", options.maintenance_percent, 50) / 100,
    )


def _parse_number(option: str, text: str, most: int) -> Decimal:
    number = Decimal(text) if _AMOUNT.fullmatch(text) else Decimal(-1)
    if not 0 <= number <= most:
        raise QuestionInvalid(f"{option}: {text[:40]!r} is not a number from 0 to {most}")
    return number


def _parse_moment(option: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise QuestionInvalid(f"{option}: {error}") from None


def _parse_outage(text: str) -> tuple[int, int]:
    first, slash, last = text.partition("/")
    if not slash:
        raise QuestionInvalid(f"--outage: {text[:60]!r} is not such as 2020-03-12T11:45/2020-03-12T11:50")
    span = _parse_moment("--outage", first), _parse_moment("--outage", last)
    if span[0] >= span[1]:
        raise QuestionInvalid(f"--outage: {text[:60]!r} ends before it begins")
    return span


def _cut(bars: Mapping[str, Bars], options: Options) -> dict[str, Bars]:
    """What lies between --from and --to."""
    since = _parse_moment("--from", options.since) if options.since else 0
    until = _parse_moment("--to", options.until) if options.until else 2**40
    cut = {}
    for market, each in bars.items():
        kept = (each.start_s >= since) & (each.start_s < until)
        if not kept.any():
            raise QuestionInvalid(f"--from, --to: {market} has no prices in that time; it has {_describe_span(each)}")
        opened, high, low, close = (column[kept] for column in (each.open, each.high, each.low, each.close))
        volume = each.quote_volume[kept]
        cut[market] = Bars(market, each.start_s[kept], each.step_s, opened, high, low, close, volume)
    return cut


def get_span(bars: Mapping[str, Bars]) -> tuple[int, int]:
    """From the first price of any market until the last."""
    first = min(int(each.start_s[0]) for each in bars.values())
    return first, max(int(each.start_s[-1]) + each.step_s for each in bars.values())


def _build_history(options: Options, bars: Mapping[str, Bars]) -> tuple[History, list[str]]:
    book, notes = _get_book(options, bars)
    gross = _get_gross(book.traders, get_span(bars)[0])
    vault, said = _get_capital("--vault", options.vault or book.vault, VAULT_DEFAULT, gross)
    shield, also = _get_capital("--shield", options.shield or book.shield, SHIELD_DEFAULT, gross)
    funding = {
        market: read_funding(paths)
        for market, paths in _check_known("--funding", parse_files("--funding", options.funding), bars).items()
    }
    without = [market for market in bars if market not in funding]
    if without:
        notes.append(f"without funding rates: {', '.join(without)}; there the hedges pay and get none")
    return History(bars, funding, book.traders, vault, shield), [*notes, *said, *also]


def _check_known(option: str, files: Mapping[str, list[Path]], bars: Mapping[str, Bars]) -> Mapping[str, list[Path]]:
    unknown = [market for market in files if market not in bars]
    if unknown:
        raise QuestionInvalid(f"{option}: {unknown[0]} has no --prices")
    return files


def _get_book(options: Options, bars: Mapping[str, Bars]) -> tuple[Book, list[str]]:
    if options.book is not None and options.generate:
        raise QuestionInvalid("--book and --generate: give one of them")
    span = get_span(bars)
    if options.book is None:
        text = options.generate or GENERATE_DEFAULT
        traders = generate_traders(parse_plan(text), list(bars), span)
        return Book(traders), [f"book: generated by {text}: {_count(traders)}"]
    book = read_book(options.book)
    kept, notes = _fit(book.traders, bars, span, at_start=options.at_start)
    if not kept:
        hint = "" if options.at_start else "; --at-start opens them all at the first price"
        raise ConfigError(f"{options.book}: none of its positions is in these markets and in this time{hint}")
    return book._replace(traders=kept), [f"book: {options.book}: {_count(kept)}", *notes]


def _fit(
    traders: Sequence[Trader], bars: Mapping[str, Bars], span: tuple[int, int], *, at_start: bool
) -> tuple[list[Trader], list[str]]:
    """The positions of these markets and of this time, and what became of the others."""
    known = [trader for trader in traders if trader.market in bars]
    if at_start:
        # A position that was opened at another price would begin with a profit that these prices never made.
        kept = [trader._replace(entry_price=None, opened_s=span[0], closed_s=None) for trader in _list_latest(known)]
    else:
        kept = [
            trader for trader in known
            if trader.opened_s < span[1] and (trader.closed_s is None or trader.closed_s > span[0])
        ]  # fmt: skip
    notes = [
        f"book: left out {count} positions {why}"
        for count, why in (
            (len(traders) - len(known), "in markets without --prices"),
            (len(known) - len(kept), "that another follows" if at_start else "of another time"),
        )
        if count
    ]
    return kept, notes


def _list_latest(traders: Sequence[Trader]) -> list[Trader]:
    """The last position of each trader in each market: he has one at a time."""
    latest = {}
    for trader in sorted(traders, key=lambda each: each.opened_s):
        latest[trader.user.lower(), trader.market] = trader
    return list(latest.values())


def _get_gross(traders: Sequence[Trader], start_s: int) -> int:
    """What is open at the beginning, and where nothing is, all that ever is."""
    first = sum(trader.size for trader in traders if trader.opened_s <= start_s)
    return first or sum(trader.size for trader in traders)


def _get_capital(option: str, given: str | int | None, usual: str, gross: int) -> tuple[int, list[str]]:
    """In base units, from an amount in USD or a percentage of gross; and a note where nobody said it."""
    if isinstance(given, int):
        return given, []
    text = given or usual
    number = text.removesuffix("%")
    if not _AMOUNT.fullmatch(number):
        raise QuestionInvalid(f"{option}: {text[:40]!r} is neither an amount in USD nor a percentage such as 1%")
    amount = gross * Fraction(number) / 100 if text.endswith("%") else Fraction(number) * USDC_UNIT
    note = f"{option}: {text} of {gross / USDC_UNIT:,.0f} USD open at the beginning, as nothing else was given"
    return int(amount), [] if given else [note]


def _count(traders: Sequence[Trader]) -> str:
    users = len({(trader.user.lower(), trader.market) for trader in traders})
    return f"{len(traders):,} positions of {users:,} traders"


def _describe_span(bars: Bars) -> str:
    return f"{format_time(int(bars.start_s[0]))} to {format_time(int(bars.start_s[-1]) + bars.step_s)}"


def _describe_bars(bars: Mapping[str, Bars]) -> list[str]:
    notes = []
    for market, each in bars.items():
        gaps = find_gaps(each)
        told = f"{market}: {len(each.start_s):,} bars of {each.step_s} s, {_describe_span(each)}"
        if gaps:
            longest = max(gaps, key=lambda gap: gap.missing_s)
            missing_s = sum(gap.missing_s for gap in gaps)
            told += (
                f"; {len(gaps)} gaps of {missing_s:,} s in all, the longest of {longest.missing_s:,} s from"
                f" {format_time(longest.from_s)}: no price moves there"
            )
        notes.append(told)
    return notes
