"""``dehedge history`` and ``dehedge report``: read the journal, beside a running daemon or after it, and print what it tells.

Nothing is asked of the daemon but its prices, for what is still open, and without an answer the journal's own do. Nothing is
written but the file that was asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dehedge.adapters.journal_reader import JournalReader
from dehedge.addresses import parse_file_url
from dehedge.client import PIPE_WIDTH, check_wide, fetch_answer
from dehedge.config import Settings
from dehedge.core.lives import Sight
from dehedge.core.report import Report, build_report
from dehedge.environment import read_environment
from dehedge.errors import ConfigError, DehedgeError
from dehedge.history import CONTEXT_S, describe_entries
from dehedge.reporting.page import render_page
from dehedge.reporting.reading import read_records
from dehedge.reporting.rows import build_report_data
from dehedge.reporting.sheet import render_csv
from dehedge.reporting.spans import format_moment, parse_since
from dehedge.reporting.text import render_text

ASSET_UNIT = 10**6
"""USDC has six decimals."""
PRICES_S = 2.0
DATABASES = (b"SQLite format 3\0", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""How a journal begins, and its ``-wal``, which holds the newest of it."""


def find_journal(given: Path | None) -> JournalReader:
    """The journal that was named, or else the one of STATE_URL. Raises ``ConfigError``."""
    if given is not None:
        return JournalReader(given)
    field = Settings.model_fields["state_url"]
    url = read_environment().values.get("STATE_URL", str(field.default))
    try:
        return JournalReader(parse_file_url(url))
    except ValueError as error:
        raise ConfigError(f"STATE_URL: {error}; accepted: {field.description}; or name the file by --journal") from None


def print_history(journal: Path | None, *, since: str, market: str, use_json: bool) -> int:
    start = parse_since(since, time.time())
    every = describe_entries(find_journal(journal).read(max(start - CONTEXT_S, 0.0)), start)
    events = [event for event in every if market in ("", event["market"])]
    if use_json:
        print(json.dumps({"events": events}, indent=2))
        return 0
    console = build_console()
    table = Table("time (UTC)", "symbol", "position", "what")
    for event in events:
        position = f"{event['market']} {str(event['position_id']).split('|')[0]}".strip()
        table.add_row(format_moment(float(str(event["at"]))), str(event["symbol"]), position, str(event["text"]))
    console.print(table if events else _describe_nothing(every, start, market))
    return 0


def _describe_nothing(every: Sequence[Mapping[str, object]], start: float, market: str) -> str:
    """A market that is written otherwise is found among those in which something did."""
    where = f" in {market}" if market else ""
    others = sorted({str(event["market"]) for event in every} - {""})
    hint = f"; it did in {', '.join(others)}" if others else ""
    return f"nothing happened{where} since {format_moment(start)} UTC{hint}"


def write_report(journal: Path | None, *, since: str, shape: str, out: Path | None, url: str) -> int:
    """Print the report as text, json, csv or html, or write it to a file; prices of what is still open are the running daemon's where it answers."""
    now = time.time()
    start = parse_since(since, now)
    records = read_records(find_journal(journal).read())
    prices = _fetch_prices(url) if any(life.closed_at is None for life in records.lives) else {}
    report = build_report(records, start, now, asset_unit=ASSET_UNIT, prices=prices)
    text = _render(report, shape)
    if out is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return 0
    write_file(out, text.encode())
    print(f"written: {out}")
    return 0


def write_file(path: Path, content: bytes) -> None:
    """Raises ``DehedgeError`` where it cannot be written."""
    check_no_database(path)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise DehedgeError(f"--out: {path}: {error.strerror}; give another file") from None


def check_no_database(path: Path) -> None:
    """Refuse to write over a journal: one slip of the keyboard, and nobody knows what is held."""
    try:
        if not path.is_file():
            return  # To read a pipe or a terminal would be to wait for it.
        with path.open("rb") as file:
            is_database = file.read(len(DATABASES[0])).startswith(DATABASES)
    except OSError:
        return
    if is_database:
        raise DehedgeError(f"--out: {path} is a database, such as a journal; give another file")


def build_console(*, width: int = PIPE_WIDTH) -> Console:
    """Without markup, because names come from outside; wide where no terminal says how wide."""
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = width
    return console


def _render(report: Report, shape: str) -> str:
    match shape:
        case "json":
            return json.dumps(build_report_data(report), indent=2)
        case "csv":
            return render_csv(report)
        case "html":
            return render_page(report)
    console = build_console()
    with console.capture() as captured:
        console.print(render_text(report, is_wide=check_wide(console)))
    return captured.get()


def _fetch_prices(url: str) -> dict[str, Sight]:
    """By market; none where no daemon answers, unless it was named."""
    try:
        status: dict[str, Any] = fetch_answer(url, "status", timeout_s=PRICES_S)
    except DehedgeError:
        if url:
            raise
        return {}
    return {
        market: Sight(float(price["publish_time"]), Decimal(price["price"])) for market, price in status["prices"].items()
    }
