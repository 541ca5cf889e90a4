"""``dehedge replay`` and ``dehedge snapshot``: recorded decisions or recorded prices run again, and a trader book of the chain.

Knows the options and nothing of what is done with them; what does is loaded when it is needed. Called by ``cli``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dehedge.cli_options import Version
from dehedge.errors import QuestionInvalid
from dehedge.exits import exit_with

if TYPE_CHECKING:
    from dehedge.config import Settings

Many = list[str] | None
INPUTS, ACCOUNT, OUTPUT = "What is replayed", "What hedging costs", "What is made of it"


def replay(
    file: Annotated[Path | None, typer.Argument(help="A .zip of `dehedge bundle`; without it, --prices.")] = None,
    *,
    prices: Annotated[Many, typer.Option(help="MARKET=FILE,FILE: klines as CSV or ZIP; again for each market.", rich_help_panel=INPUTS)] = None,
    window: Annotated[Many, typer.Option(help="NAME:MARKET=FILE,FILE, instead of --prices: several histories, pooled.", rich_help_panel=INPUTS)] = None,
    funding: Annotated[Many, typer.Option(help="MARKET=FILE,FILE: funding rates.", rich_help_panel=INPUTS)] = None,
    book: Annotated[Path | None, typer.Option(help="A trader book, such as of `dehedge snapshot`.", rich_help_panel=INPUTS)] = None,
    generate: Annotated[str, typer.Option(help="A made-up book: seed=7,traders=1000,long=0.1..0.9,...", rich_help_panel=INPUTS)] = "",
    books: Annotated[int, typer.Option(min=1, max=100_000, help="So many made-up books, seeds counting up, pooled.", rich_help_panel=INPUTS)] = 1,
    at_start: Annotated[bool, typer.Option("--at-start", help="Open the book's positions at the first price.", rich_help_panel=INPUTS)] = False,
    vault: Annotated[str, typer.Option(help="USD, or a percentage of what is open at first; or a range.", rich_help_panel=INPUTS)] = "",
    shield: Annotated[str, typer.Option(help="The same: 250000, 1%, or 0.5%..5%.", rich_help_panel=INPUTS)] = "",
    policy: Annotated[Many, typer.Option(help="none, notional, delta, portfolio, ideal, or delta:expiry=300; again for each.", rich_help_panel=INPUTS)] = None,
    since: Annotated[str, typer.Option("--from", help="Prices from then on, UTC.", rich_help_panel=INPUTS)] = "",
    until: Annotated[str, typer.Option("--to", help="Prices before then, UTC.", rich_help_panel=INPUTS)] = "",
    fees: Annotated[str, typer.Option(help="Taker fee, bps.", rich_help_panel=ACCOUNT)] = "5",
    spread: Annotated[str, typer.Option(help="Half the spread, bps.", rich_help_panel=ACCOUNT)] = "0.5",
    depth: Annotated[str, typer.Option(help="USD that move the price by a bp; 0 is no limit.", rich_help_panel=ACCOUNT)] = "1000000",
    latency: Annotated[float, typer.Option(min=0, max=3600, help="Seconds from a price to the order.", rich_help_panel=ACCOUNT)] = 0.5,
    exchange_latency: Annotated[float, typer.Option(min=0, max=3600, help="Seconds from there to the fill.", rich_help_panel=ACCOUNT)] = 0.25,
    outage: Annotated[Many, typer.Option(help="FROM/TO in which the exchange takes nothing.", rich_help_panel=ACCOUNT)] = None,
    margin: Annotated[str, typer.Option(help="USD on the hedge account.", rich_help_panel=ACCOUNT)] = "1000000",
    leverage: Annotated[int | None, typer.Option(min=1, max=125, help="By default as configured.", rich_help_panel=ACCOUNT)] = None,
    maintenance: Annotated[str, typer.Option(help="Maintenance margin, percent of the notional.", rich_help_panel=ACCOUNT)] = "0.5",
    out: Annotated[list[Path] | None, typer.Option(help="report.html or figures.json; again for both.", rich_help_panel=OUTPUT)] = None,
    png: Annotated[Path | None, typer.Option(help="A folder for the charts as PNG.", rich_help_panel=OUTPUT)] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON for programs.", rich_help_panel=OUTPUT)] = False,
    _version: Version = False,
) -> None:  # fmt: skip
    """Run a bundle's passes again, or the daemon's decisions on a price history and a trader book, in money."""
    if file is not None:
        exit_with(lambda: _replay_bundle(file, is_alone=not prices and not window, use_json=json_output))

    def work() -> int:
        from dehedge.cli_money import build_console
        from dehedge.replay.options import Options
        from dehedge.replay.session import Wanted, replay_history

        options = Options(
            prices=prices or (), windows=window or (), funding=funding or (), book=book, generate=generate, books=books,
            at_start=at_start, vault=vault,
            shield=shield, policies=policy or (), since=since, until=until, fees_bps=fees, spread_bps=spread,
            depth_usd=depth, latency_s=latency, exchange_latency_s=exchange_latency, outages=outage or (),
            margin_usd=margin, leverage=leverage, maintenance_percent=maintenance,
        )  # fmt: skip
        return replay_history(options, Wanted(out or (), png, json_output), build_console())

    exit_with(work)


def _replay_bundle(path: Path, *, is_alone: bool, use_json: bool) -> int:
    if not is_alone:
        raise QuestionInvalid(f"{path}: give a bundle or --prices, not both")
    from dehedge import cli_bundle

    return cli_bundle.replay(path, use_json=use_json)


def snapshot(
    out: Annotated[Path, typer.Option(help="The trader book to write.")] = Path("book.csv"),
    _version: Version = False,
) -> None:
    """Read the chain once, as the daemon does, and write every open position as a trader book for `dehedge replay`."""
    exit_with(lambda: _make_snapshot(out))


def _make_snapshot(out: Path) -> int:
    if not out.parent.is_dir():
        raise QuestionInvalid(f"--out: {out}: there is no such folder")
    settings = _read_chain_settings()

    from dehedge.leaving import run_and_leave
    from dehedge.logs import configure_logging

    configure_logging(level="CRITICAL", use_json=False, secrets=settings.get_secret_texts())
    return run_and_leave(_write_snapshot(settings, out))


def _read_chain_settings() -> Settings:
    """What reading the chain needs: an account at the exchange is no part of it."""
    from pydantic import ValidationError

    from dehedge.config import Settings, read_settings

    try:
        return Settings.model_validate({})
    except ValidationError:
        return read_settings()


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
