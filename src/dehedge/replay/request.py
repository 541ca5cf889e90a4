"""From the options of ``dehedge replay`` to what the engine takes: files read, books made, times and amounts understood.

Everything is read and checked before anything runs. A bad option is a ``QuestionInvalid``, a bad file a ``ConfigError``. Called
by ``session`` for one run, and by ``pool`` for each of many books.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeVar

from dehedge.errors import ConfigError, QuestionInvalid
from dehedge.markets import MARKETS_FILE, read_markets
from dehedge.replay.choices import build_policies, read_replay_settings
from dehedge.replay.exchange import RULES
from dehedge.replay.generator import generate_traders, parse_plan
from dehedge.replay.model import USDC_UNIT, Bars, Costs, History, Policy, Trader
from dehedge.replay.options import AMOUNT, BOOKS_MAX, Options, parse_moment, parse_number
from dehedge.replay.ranges import SEED_DEFAULT, check_range, fix_range, fix_words, read_seed
from dehedge.replay.sheets import format_time
from dehedge.replay.traders import Book, read_book
from dehedge.replay.windows import (
    Window,
    describe_span,
    describe_window,
    find_early_ends,
    get_span,
    read_windows,
    tell_count,
)

VAULT_DEFAULT, SHIELD_DEFAULT = "20%", "1%"
BPS = 10_000
STEP_FINE_S = 60
"""The finest that the public archive has of every market and year."""
LATENCY_MAX_S, LEVERAGE_MAX = 3_600, 125
NAMED_MAX = 5
"""Of markets in a line."""
Number = TypeVar("Number", int, float)


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
    notes = [*describe_window(inputs.windows[0]), *describe_prices(inputs), *made.notes]
    return Request(made.history, inputs.costs, inputs.policies, notes, options)


def read_inputs(options: Options) -> Inputs:
    """Everything but the books that are drawn. Raises as ``build_request`` does."""
    costs = build_costs(options)
    _check_books(options)
    windows = read_windows(options)
    _check_outages(costs.outages, windows)
    policies = build_policies(options.policies, get_symbols(_list_markets(windows)))
    return Inputs(options, windows, read_book(options.book) if options.book is not None else None, costs, policies)


def _check_books(options: Options) -> None:
    if options.book is not None and options.generate:
        raise QuestionInvalid("--book and --generate: give one of them")
    if options.book is not None and options.books > 1:
        raise QuestionInvalid("--books draws made-up books; with --book there is one")
    _check_number("--books", options.books, 1, BOOKS_MAX)
    for name, text in (("--vault", options.vault), ("--shield", options.shield)):
        if options.book is not None and check_range(text):
            raise QuestionInvalid(f"{name}: a range is drawn for made-up books; with --book give a number")


def _list_markets(windows: Sequence[Window]) -> list[str]:
    return list(dict.fromkeys(market for window in windows for market in window.bars))


def get_symbols(markets: Sequence[str]) -> dict[str, str]:
    """Of markets.toml where there is one, and else by the usual name."""
    known = _read_known_symbols() or {}
    return {market: known.get(market) or f"{market.split('-')[0]}USDT" for market in markets}


def _read_known_symbols() -> dict[str, str] | None:
    """None where there is no markets.toml."""
    return read_markets(read_replay_settings().connector) if MARKETS_FILE.exists() else None


def describe_prices(inputs: Inputs) -> list[str]:
    """What these prices cannot say of these policies, and of the daemon as it is configured."""
    return [*_describe_symbols(inputs.windows), *_describe_coarse(inputs)]


def _describe_coarse(inputs: Inputs) -> list[str]:
    """A rule that looks ahead by what prices just did wants to see them do it."""
    step_s = max(bars.step_s for window in inputs.windows for bars in window.bars.values())
    looking = [policy.name for policy in inputs.policies if policy.hedging is not None and policy.hedging.portfolio is not None]
    if step_s <= STEP_FINE_S or not looking:
        return []
    hidden = f"bars of {step_s} s hide what {', '.join(looking)} would see: within a bar prices go straight"
    return [f"{hidden} from one extreme to the next; bars of {STEP_FINE_S} s tell more"]


def _describe_symbols(windows: Sequence[Window]) -> list[str]:
    """Markets that markets.toml does not have: nobody would hedge them, and a typing error looks the same."""
    known = _read_known_symbols()
    if known is None:
        return []
    return [
        f"{market} is not in {MARKETS_FILE}, so the daemon would not hedge it: its symbol {symbol} is made up"
        + ("" if symbol in RULES else ", and so are that symbol's rules")
        for market, symbol in get_symbols(_list_markets(windows)).items()
        if market not in known
    ]


def build_costs(options: Options) -> Costs:
    """What hedging costs. Raises ``QuestionInvalid``."""
    settings = read_replay_settings()
    margin_type, leverage = options.margin_type or settings.margin_type, options.leverage
    return Costs(
        taker_fee=parse_number("--fees", options.fees_bps, 1_000) / BPS,
        half_spread_bps=parse_number("--spread", options.spread_bps, 1_000),
        depth_usd=parse_number("--depth", options.depth_usd, 10**15),
        latency_s=_check_number("--latency", options.latency_s, 0, LATENCY_MAX_S),
        exchange_latency_s=_check_number("--exchange-latency", options.exchange_latency_s, 0, LATENCY_MAX_S),
        outages=sorted(map(_parse_outage, options.outages)),
        margin_usd=parse_number("--margin", options.margin_usd, 10**15),
        leverage=settings.leverage if leverage is None else _check_number("--leverage", leverage, 1, LEVERAGE_MAX),
        is_isolated=margin_type == "ISOLATED",
        maintenance=parse_number("--maintenance", options.maintenance_percent, 50) / 100,
    )


def _check_number(option: str, number: Number, least: int, most: int) -> Number:
    if not least <= number <= most:
        raise QuestionInvalid(f"{option}: {number} is not a number from {least} to {most}")
    return number


def _parse_outage(text: str) -> tuple[int, int]:
    first, slash, last = text.partition("/")
    if not slash:
        raise QuestionInvalid(f"--outage: {text[:60]!r} is not such as 2020-03-12T11:45/2020-03-12T11:50")
    span = parse_moment("--outage", first), parse_moment("--outage", last)
    if span[0] >= span[1]:
        raise QuestionInvalid(f"--outage: {text[:60]!r} ends before it begins")
    return span


def _check_outages(outages: Sequence[tuple[int, int]], windows: Sequence[Window]) -> None:
    """One that no price sees is a typing error."""
    spans = [get_span(window.bars) for window in windows]
    for outage in outages:
        if not any(outage[0] < span[1] and span[0] < outage[1] for span in spans):
            told = ", ".join(map(describe_span, spans[:3]))
            raise QuestionInvalid(f"--outage: {describe_span(outage)} is outside the prices, which are from {told}")


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
    if inputs.book is None:
        traders = generate_traders(parse_plan(words), list(bars), get_span(bars))
        return Book(traders), [f"book: generated by {words}: {_count(traders)}", *_describe_late(traders, bars)]
    kept, notes = _fit(inputs.book.traders, bars, inputs.options)
    told = [f"book: {inputs.options.book}: {_count(kept)}", *notes, *_describe_late(kept, bars)]
    return inputs.book._replace(traders=kept), told


def describe_book(inputs: Inputs, window: Window) -> list[str]:
    """What of a book that was read is in this window, in words. Raises ``ConfigError`` where nothing is."""
    name = f"{window.name}: " if window.name else ""
    return [f"{name}{note}" for note in _make_book(inputs, window.bars, "")[1]]


def _fit(traders: Sequence[Trader], bars: Mapping[str, Bars], options: Options) -> tuple[list[Trader], list[str]]:
    """The positions of these markets and of this time, and what became of the others. Raises ``ConfigError`` for none."""
    span, known = get_span(bars), [trader for trader in traders if trader.market in bars]
    others = sorted({trader.market for trader in traders} - bars.keys())
    if not known:
        raise ConfigError(
            f"{options.book}: none of its positions is in a market with prices: they are in {_name_some(others)}, and"
            f" the prices are of {_name_some(sorted(bars))}; name a market alike in both"
        )
    if options.at_start:
        # A position that was opened at another price would begin with a profit that these prices never made.
        kept = [trader._replace(entry_price=None, opened_s=span[0], closed_s=None) for trader in _list_latest(known)]
    else:
        kept = [
            trader for trader in known
            if trader.opened_s < span[1] and (trader.closed_s is None or trader.closed_s > span[0])
        ]  # fmt: skip
    if not kept:
        raise ConfigError(
            f"{options.book}: none of its positions in {_name_some(sorted(bars))} is of this time, {describe_span(span)};"
            " --at-start opens them all at the first price"
        )
    notes = [
        f"book: left out {tell_count(count, 'position')} {why}"
        for count, why in (
            (len(traders) - len(known), f"in markets without --prices: {_name_some(others)}"),
            (len(known) - len(kept), "that another follows" if options.at_start else "of another time"),
        )
        if count
    ]
    return kept, notes


def _name_some(markets: Sequence[str]) -> str:
    return ", ".join(markets[:NAMED_MAX]) + (f" and {len(markets) - NAMED_MAX} more" if len(markets) > NAMED_MAX else "")


def _describe_late(traders: Sequence[Trader], bars: Mapping[str, Bars]) -> list[str]:
    """Who opens after the last bar of his market has begun, while others go on, sees a price that never moves."""
    ends = find_early_ends(bars)
    counts = Counter(trader.market for trader in traders if trader.market in ends and trader.opened_s > bars[trader.market].start_s[-1])
    return [
        f"book: {tell_count(count, 'position')} in {market} opened after its prices ended at {format_time(ends[market])}:"
        " they see no price but the last"
        for market, count in sorted(counts.items())
    ]


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
    users = len({trader.user.lower() for trader in traders})
    return f"{tell_count(len(traders), 'position')} of {tell_count(users, 'trader')}"
