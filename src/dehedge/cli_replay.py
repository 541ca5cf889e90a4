"""``dehedge replay``, ``tune``, ``depth`` and ``snapshot``: recorded decisions or prices run again, and what that takes.

Knows the options and nothing of what is done with them; what does is loaded when it is needed. Called by ``cli``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dehedge import cli_options as given
from dehedge.cli_options import Json, Many, Version
from dehedge.errors import QuestionInvalid
from dehedge.exits import exit_with
from dehedge.replay.options import Options

if TYPE_CHECKING:
    from dehedge.config import Settings

SEARCH = "What is searched"
DEFAULT = Options()


def replay(
    file: Annotated[Path | None, typer.Argument(help="A .zip of `dehedge bundle`; without it, --prices.")] = None,
    *,
    prices: given.Prices = None, window: given.Windows = None, funding: given.Funding = None, book: given.Book = None,
    generate: given.Generate = "", books: given.Books = 1, at_start: given.AtStart = False, vault: given.Vault = "",
    shield: given.Shield = "",
    policy: Annotated[Many, typer.Option(help="none, notional, delta, portfolio, ideal, or delta:expiry=300; again for each.", rich_help_panel=given.INPUTS)] = None,
    since: given.Since = "", until: given.Until = "", fees: given.Fees = DEFAULT.fees_bps,
    spread: given.Spread = DEFAULT.spread_bps, depth: given.Depth = DEFAULT.depth_usd,
    latency: given.Latency = DEFAULT.latency_s, exchange_latency: given.ExchangeLatency = DEFAULT.exchange_latency_s,
    outage: given.Outages = None, margin: given.Margin = DEFAULT.margin_usd, leverage: given.Leverage = None,
    margin_type: given.MarginType = None, maintenance: given.Maintenance = DEFAULT.maintenance_percent,
    roughness: given.Roughness = DEFAULT.roughness_percent, out: given.Outs = None, png: given.Pictures = None,
    json_output: given.Printed = False, _version: Version = False,
) -> None:  # fmt: skip
    """Run a bundle's passes again, or the daemon's decisions on a price history and a trader book, in money."""
    if file is not None:
        exit_with(lambda: _replay_bundle(file, is_alone=not prices and not window, use_json=json_output))

    def work() -> int:
        from dehedge.cli_money import build_console
        from dehedge.replay.session import Wanted, replay_history

        options = Options(
            prices=prices or (), windows=window or (), funding=funding or (), book=book, generate=generate, books=books,
            at_start=at_start, vault=vault, shield=shield, policies=policy or (), since=since, until=until, fees_bps=fees,
            spread_bps=spread, depth_usd=depth, latency_s=latency, exchange_latency_s=exchange_latency,
            outages=outage or (), margin_usd=margin, leverage=leverage, margin_type=margin_type,
            maintenance_percent=maintenance, roughness_percent=roughness,
        )  # fmt: skip
        return replay_history(options, Wanted(out or (), png, json_output), build_console())

    exit_with(lambda: _tell_interrupt(work))


def tune(
    *,
    prices: given.Prices = None, window: given.Windows = None, funding: given.Funding = None, book: given.Book = None,
    generate: given.Generate = "", books: given.Books = 1, at_start: given.AtStart = False, vault: given.Vault = "",
    shield: given.Shield = "",
    policy: Annotated[Many, typer.Option(help="What is varied: delta, portfolio, notional; by default each.", rich_help_panel=SEARCH)] = None,
    vary: Annotated[Many, typer.Option(help="expiry=60,300,900: what is tried for a setting; again for each.", rich_help_panel=SEARCH)] = None,
    tries: Annotated[int, typer.Option(help="So many combinations; of more, a sample drawn by the seed.", rich_help_panel=SEARCH)] = 100,
    folds: Annotated[int | None, typer.Option(help="Parts shown, each chosen on all before it; 3 by default.", rich_help_panel=SEARCH)] = None,
    protection: Annotated[str, typer.Option(help="Of the loss at worst; the cheapest that avoids it is chosen.", rich_help_panel=SEARCH)] = "80%",
    since: given.Since = "", until: given.Until = "", fees: given.Fees = DEFAULT.fees_bps,
    spread: given.Spread = DEFAULT.spread_bps, depth: given.Depth = DEFAULT.depth_usd,
    latency: given.Latency = DEFAULT.latency_s, exchange_latency: given.ExchangeLatency = DEFAULT.exchange_latency_s,
    outage: given.Outages = None, margin: given.Margin = DEFAULT.margin_usd, leverage: given.Leverage = None,
    margin_type: given.MarginType = None, maintenance: given.Maintenance = DEFAULT.maintenance_percent,
    roughness: given.Roughness = DEFAULT.roughness_percent, out: given.Outs = None, png: given.Pictures = None,
    json_output: given.Printed = False, _version: Version = False,
) -> None:  # fmt: skip
    """Search settings on one part of a history, and show what they are worth on the next: protection against cost."""

    def work() -> int:
        from dehedge.cli_money import build_console
        from dehedge.replay.session import Wanted
        from dehedge.replay.tune_session import Search, tune_history

        options = Options(
            prices=prices or (), windows=window or (), funding=funding or (), book=book, generate=generate, books=books,
            at_start=at_start, vault=vault, shield=shield, policies=policy or (), since=since, until=until, fees_bps=fees,
            spread_bps=spread, depth_usd=depth, latency_s=latency, exchange_latency_s=exchange_latency,
            outages=outage or (), margin_usd=margin, leverage=leverage, margin_type=margin_type,
            maintenance_percent=maintenance, roughness_percent=roughness,
        )  # fmt: skip
        search = Search(vary=vary or (), tries=tries, folds=folds, protection_percent=protection)
        return tune_history(options, search, Wanted(out or (), png, json_output), build_console())

    exit_with(lambda: _tell_interrupt(work))


def _tell_interrupt(work: Callable[[], int]) -> int:
    """Minutes of work that end without a result are no silent matter."""
    try:
        return work()
    except KeyboardInterrupt:
        print("dehedge: interrupted before it was done", file=sys.stderr)
        raise


def _replay_bundle(path: Path, *, is_alone: bool, use_json: bool) -> int:
    if not is_alone:
        raise QuestionInvalid(f"{path}: give a bundle or --prices, not both")
    from dehedge import cli_bundle

    return cli_bundle.replay(path, use_json=use_json)


def depth(
    files: Annotated[list[Path], typer.Argument(help="Recorded messages of @depth and @bookTicker, one a line.")],
    *,
    every: Annotated[float, typer.Option(min=0.001, max=86_400, help="Seconds between two looks at the book.")] = 0.1,
    json_output: Json = False,
    _version: Version = False,
) -> None:
    """Measure how deep a recorded order book was, and print --spread and --depth of `dehedge replay` for it."""

    def work() -> int:
        from dehedge.cli_money import build_console
        from dehedge.replay.depth_session import measure_depth

        return measure_depth(files, every, build_console(), use_json=json_output)

    exit_with(work)


def snapshot(
    out: Annotated[Path, typer.Option(help="The trader book to write.")] = Path("book.csv"),
    _version: Version = False,
) -> None:
    """Read the chain once, as the daemon does, and write every open position as a trader book for `dehedge replay`."""
    exit_with(lambda: _make_snapshot(out))


def _make_snapshot(out: Path) -> int:
    if not out.parent.is_dir():
        raise QuestionInvalid(f"--out: {out}: there is no such folder")
    from dehedge.config import read_settings_alone
    from dehedge.leaving import run_and_leave
    from dehedge.logs import configure_logging

    settings = read_settings_alone()
    configure_logging(level="CRITICAL", use_json=False, secrets=settings.get_secret_texts())
    return run_and_leave(_write_snapshot(settings, out))


async def _write_snapshot(settings: Settings, out: Path) -> int:
    from dehedge.parts import SystemClock, build_chain_reader
    from dehedge.replay.chain_book import build_chain_book
    from dehedge.replay.sheets import unscale, write_text
    from dehedge.replay.traders import USD_PLACES, render_book

    reader = build_chain_reader(settings, SystemClock())
    try:
        snapshot = await reader.fetch_snapshot()
    finally:
        await reader.close()
    made = build_chain_book(snapshot, settings.usdc)
    write_text(out, render_book(made.book))
    vault, shield = (unscale(amount, USD_PLACES) for amount in (snapshot.vault, snapshot.shield))
    print(
        f"written: {out}: {len(made.book.traders)} positions of block {snapshot.block_number}, vault {vault} USDC,"
        f" shield {shield} USDC"
    )
    for why, count in made.left_out.items():
        print(f"left out: {count} positions {why}")
    return 0
