"""Options that commands have in common, for ``cli`` and the modules that bring commands of their own.

Prints the version and nothing else. The names of the second part are those that ``replay`` and ``tune`` share.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dehedge import __version__


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (typer calls it with the option's value)
    if wanted:
        typer.echo(f"dehedge {__version__}")
        raise typer.Exit


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]

Many = list[str] | None
INPUTS, ACCOUNT, OUTPUT = "What is replayed", "What hedging costs", "What is made of it"

Prices = Annotated[Many, typer.Option(help="MARKET=FILE,FILE: klines as CSV or ZIP; again for each market.", rich_help_panel=INPUTS)]
Windows = Annotated[Many, typer.Option(help="NAME:MARKET=FILE,FILE, instead of --prices: several histories, pooled.", rich_help_panel=INPUTS)]
Funding = Annotated[Many, typer.Option(help="MARKET=FILE,FILE: funding rates.", rich_help_panel=INPUTS)]
Book = Annotated[Path | None, typer.Option(help="A trader book, such as of `dehedge snapshot`.", rich_help_panel=INPUTS)]
Generate = Annotated[str, typer.Option(help="A made-up book: seed=7,traders=1000,long=0.1..0.9,...", rich_help_panel=INPUTS)]
Books = Annotated[int, typer.Option(min=1, max=100_000, help="So many made-up books, seeds counting up, pooled.", rich_help_panel=INPUTS)]
AtStart = Annotated[bool, typer.Option("--at-start", help="Open the book's positions at the first price.", rich_help_panel=INPUTS)]
Vault = Annotated[str, typer.Option(help="USD, or a percentage of what is open at first; or a range.", rich_help_panel=INPUTS)]
Shield = Annotated[str, typer.Option(help="The same: 250000, 1%, or 0.5%..5%.", rich_help_panel=INPUTS)]
Since = Annotated[str, typer.Option("--from", help="Prices from then on, UTC.", rich_help_panel=INPUTS)]
Until = Annotated[str, typer.Option("--to", help="Prices before then, UTC.", rich_help_panel=INPUTS)]
Fees = Annotated[str, typer.Option(help="Taker fee, bps.", rich_help_panel=ACCOUNT)]
Spread = Annotated[str, typer.Option(help="Half the spread, bps.", rich_help_panel=ACCOUNT)]
Depth = Annotated[str, typer.Option(help="USD that move the price by a bp; 0 is no limit.", rich_help_panel=ACCOUNT)]
Latency = Annotated[float, typer.Option(min=0, max=3600, help="Seconds from a price to the order.", rich_help_panel=ACCOUNT)]
ExchangeLatency = Annotated[float, typer.Option(min=0, max=3600, help="Seconds from there to the fill.", rich_help_panel=ACCOUNT)]
Outages = Annotated[Many, typer.Option(help="FROM/TO in which the exchange takes nothing.", rich_help_panel=ACCOUNT)]
Margin = Annotated[str, typer.Option(help="USD on the hedge account.", rich_help_panel=ACCOUNT)]
Leverage = Annotated[int | None, typer.Option(min=1, max=125, help="By default as configured.", rich_help_panel=ACCOUNT)]
MarginType = Annotated[Literal["ISOLATED", "CROSSED"] | None, typer.Option(help="By default as configured.", rich_help_panel=ACCOUNT)]
Maintenance = Annotated[str, typer.Option(help="Maintenance margin, percent of the notional.", rich_help_panel=ACCOUNT)]
Roughness = Annotated[str, typer.Option(help="Noise within a bar, percent of its range.", rich_help_panel=INPUTS)]
Outs = Annotated[list[Path] | None, typer.Option(help="report.html or figures.json; again for both.", rich_help_panel=OUTPUT)]
Pictures = Annotated[Path | None, typer.Option(help="A folder for the charts as PNG.", rich_help_panel=OUTPUT)]
Printed = Annotated[bool, typer.Option("--json", help="Print JSON for programs.", rich_help_panel=OUTPUT)]
