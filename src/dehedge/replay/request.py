"""From the options of ``dehedge replay`` to what the engine takes: files read, books made, times and amounts understood.

Everything is read and checked before anything runs. A bad option is a ``QuestionInvalid``, a bad file a ``ConfigError``. Called
by ``session`` for one run, and by ``pool`` for each of many books.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from dehedge.errors import ConfigError, QuestionInvalid
from dehedge.markets import MARKETS_FILE, read_markets
from dehedge.replay.choices import build_policies, read_replay_settings
from dehedge.replay.generator import generate_traders, parse_plan
from dehedge.replay.model import USDC_UNIT, Bars, Costs, History, Policy, Trader
from dehedge.replay.options import AMOUNT, BOOKS_MAX, Options, parse_moment, parse_number
from dehedge.replay.ranges import SEED_DEFAULT, check_range, fix_range, fix_words, read_seed
from dehedge.replay.traders import Book, read_book
from dehedge.replay.windows import Window, describe_window, get_span, read_windows

VAULT_DEFAULT, SHIELD_DEFAULT = "20%", "1%"
BPS = 10_000


class Inputs(NamedTuple):
    """All that was read, for one run or for many: ``book`` is None where books are generated."""

    options: Options
    windows: Sequence[Window]
    book: Book | None
    costs: Costs
    policies: Sequence[Policy]


class Made(NamedTuple):
    """A history with its traders; ``seed`` is that of the book, ``gross`` what is open at first, in base units."""

    history: History
    seed: int
    gross: int
    notes: Sequence[str]


class Request(NamedTuple):
    """What is to be run. ``notes`` say in words what was read and what was taken for granted."""

    history: History
    costs: Costs
    policies: Sequence[Policy]
    notes: Sequence[str]
    options: Options


def build_request(options: Options) -> Request:
    """Of one run. Raises ``ConfigError`` for files and settings, ``QuestionInvalid`` for options."""
    inputs = read_inputs(options)
    made = build_history(inputs, inputs.windows[0], 0)
    notes = [*describe_window(inputs.windows[0]), *made.notes]
    return Request(made.history, inputs.costs, inputs.policies, notes, options)


def read_inputs(options: Options) -> Inputs:
    """Everything but the books that are drawn. Raises as ``build_request`` does."""
    costs = build_costs(options)
    _check_books(options)
    windows = read_windows(options)
    markets = list(dict.fromkeys(market for window in windows for market in window.bars))
    policies = build_policies(options.policies, get_symbols(markets))
    return Inputs(options, windows, read_book(options.book) if options.book is not None else None, costs, policies)


def _check_books(options: Options) -> None:
    if options.book is not None and options.generate:
        raise QuestionInvalid("--book and --generate: give one of them")
    if options.book is not None and options.books > 1:
        raise QuestionInvalid("--books draws made-up books; with --book there is one")
    if not 1 <= options.books <= BOOKS_MAX:
        raise QuestionInvalid(f"--books: {options.books} is not a number from 1 to {BOOKS_MAX}")
    for name, text in (("--vault", options.vault), ("--shield", options.shield)):
        if options.book is not None and check_range(text):
            raise QuestionInvalid(f"{name}: a range is drawn for made-up books; with --book give a number")


def get_symbols(markets: Sequence[str]) -> dict[str, str]:
    """Of markets.toml where there is one, and else by the usual name."""
    known = read_markets(read_replay_settings().connector) if MARKETS_FILE.exists() else {}
    return {market: known.get(market) or f"{market.split('-')[0]}USDT" for market in markets}


def build_costs(options: Options) -> Costs:
    """What hedging costs. Raises ``QuestionInvalid``."""
    settings = read_replay_settings()
    margin_type = options.margin_type or settings.margin_type
    return Costs(
        taker_fee=parse_number("--fees", options.fees_bps, 1_000) / BPS,
        half_spread_bps=parse_number("--spread", options.spread_bps, 1_000),
        depth_usd=parse_number("--depth", options.depth_usd, 10**15),
        latency_s=options.latency_s,
        exchange_latency_s=options.exchange_latency_s,
        outages=sorted(map(_parse_outage, options.outages)),
        margin_usd=parse_number("--margin", options.margin_usd, 10**15),
        leverage=options.leverage if options.leverage is not None else settings.leverage,
        is_isolated=margin_type == "ISOLATED",
        maintenance=parse_number("--maintenance", options.maintenance_percent, 50) / 100,
    )


def _parse_outage(text: str) -> tuple[int, int]:
    first, slash, last = text.partition("/")
    if not slash:
        raise QuestionInvalid(f"--outage: {text[:60]!r} is not such as 2020-03-12T11:45/2020-03-12T11:50")
    span = parse_moment("--outage", first), parse_moment("--outage", last)
    if span[0] >= span[1]:
        raise QuestionInvalid(f"--outage: {text[:60]!r} ends before it begins")
    return span


def build_history(inputs: Inputs, window: Window, number: int) -> Made:
    """The window with the book of this number, from 0 on."""
    options, bars = inputs.options, window.bars
    words = fix_words(options.generate, number)
    seed = read_seed(words) if inputs.book is None else SEED_DEFAULT
    book, notes = _make_book(inputs, bars, words)
    gross = _get_gross(book.traders, get_span(bars)[0])
    capital = [
        fix_range(f"--{name}", text, seed) for name, text in (("vault", options.vault), ("shield", options.shield))
    ]
    vault, said = _get_capital("--vault", capital[0] or book.vault, VAULT_DEFAULT, gross)
    shield, also = _get_capital("--shield", capital[1] or book.shield, SHIELD_DEFAULT, gross)
    drawn = [
        f"--{name}: {fixed}, drawn from {text}"
        for name, text, fixed in zip(("vault", "shield"), (options.vault, options.shield), capital, strict=True)
        if fixed != text
    ]
    roughness = parse_number("--roughness", options.roughness_percent, 100) / 100
    rough = [f"--roughness: noise of {options.roughness_percent} % of each bar's range within it"] if roughness else []
    history = History(bars, window.funding, book.traders, vault, shield, float(roughness))
    return Made(history, seed, gross, [*notes, *drawn, *said, *also, *rough])


def _make_book(inputs: Inputs, bars: Mapping[str, Bars], words: str) -> tuple[Book, list[str]]:
    span, path = get_span(bars), inputs.options.book
    if inputs.book is None:
        traders = generate_traders(parse_plan(words), list(bars), span)
        return Book(traders), [f"book: generated by {words}: {_count(traders)}"]
    at_start = inputs.options.at_start
    kept, notes = _fit(inputs.book.traders, bars, span, at_start=at_start)
    if not kept:
        hint = "" if at_start else "; --at-start opens them all at the first price"
        raise ConfigError(f"{path}: none of its positions is in these markets and in this time{hint}")
    return inputs.book._replace(traders=kept), [f"book: {path}: {_count(kept)}", *notes]


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
    if not AMOUNT.fullmatch(number):
        raise QuestionInvalid(f"{option}: {text[:40]!r} is neither an amount in USD nor a percentage such as 1%")
    amount = gross * Fraction(number) / 100 if text.endswith("%") else Fraction(number) * USDC_UNIT
    note = f"{option}: {text} of {gross / USDC_UNIT:,.0f} USD open at the beginning, as nothing else was given"
    return int(amount), [] if given else [note]


def _count(traders: Sequence[Trader]) -> str:
    users = len({(trader.user.lower(), trader.market) for trader in traders})
    return f"{len(traders):,} positions of {users:,} traders"
