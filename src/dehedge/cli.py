"""The commands; each is told in ``--help`` and carried out by a module of its own. How they end is in ``exits``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dehedge import cli_replay
from dehedge.cli_options import Json, PlainCommand, Version
from dehedge.config import read_configuration
from dehedge.core.book import TradingMode
from dehedge.doubts import find_doubts
from dehedge.errors import (
    ConfigError,
    JournalError,
    JournalFailed,
    JournalLocked,
)
from dehedge.exits import exit_with

app = typer.Typer(
    name="dehedge",
    help="Hedges the DePerp insurance vault on a futures exchange.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


BEGIN, FOLLOW, LOOK_BACK, STEER = "To begin with", "To follow the daemon", "To look back", "To steer the daemon"


class Level(StrEnum):
    """What a pause may be asked for."""

    NO_OPENS = TradingMode.NO_OPENS
    REDUCE_ONLY = TradingMode.REDUCE_ONLY
    HALTED = TradingMode.HALTED


class Shape(StrEnum):
    """How a report is shown."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


Url = Annotated[str, typer.Option(help="Where the daemon listens; by default as configured.")]
Reason = Annotated[str, typer.Option(help="Why; the log and the status show it.")]
Since = Annotated[str, typer.Option(help="How far back: 90m, 24h, 7d, a day or moment (UTC), or all.")]
JournalFile = Annotated[Path | None, typer.Option("--journal", help="Another journal than that of STATE_URL.")]


@app.callback()
def callback(_version: Version = False) -> None:
    """Hedges the DePerp insurance vault on a futures exchange."""


@app.command(rich_help_panel=BEGIN, epilog="Example: dehedge init --yes")
def init(
    yes: Annotated[bool, typer.Option("--yes", help="Take every default, for paper, and ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    _version: Version = False,
) -> None:
    """Write .env and markets.toml, from the real chain's markets and the exchange's symbols."""
    from dehedge.setup import init_folder

    exit_with(lambda: init_folder(is_default=yes, may_replace=force))


@app.command(rich_help_panel=BEGIN, epilog="Example: dehedge run")
def run(_version: Version = False) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    exit_with(_run)


@app.command(rich_help_panel=BEGIN, epilog="Example: dehedge check --json")
def check(json_output: Json = False, _version: Version = False) -> None:
    """Try every part of the configuration against the real services, read-only, within 20 seconds."""
    from dehedge.check import run_checks
    from dehedge.leaving import run_and_leave

    exit_with(lambda: run_and_leave(run_checks(use_json=json_output)))


@app.command(rich_help_panel=BEGIN, epilog="Example: dehedge notify")
def notify(json_output: Json = False, _version: Version = False) -> None:
    """Send a test message to everybody whom the daemon would tell, and say what became of it."""
    from dehedge.cli_notify import send_test_message

    exit_with(lambda: _run_async(send_test_message(use_json=json_output)))


@app.command(rich_help_panel=BEGIN, epilog="Example: dehedge demo --pace 10")
def demo(
    pace: Annotated[float, typer.Option(min=0.05, help="1 is the told pace; smaller is faster.")] = 1.0,
    _version: Version = False,
) -> None:
    """Play a story on this machine, offline: a local chain, price service and exchange, and the real daemon."""
    from dehedge.sim.demo import run_demo

    exit_with(lambda: _run_async(run_demo(pace=pace)))


@app.command(rich_help_panel=FOLLOW, epilog="Example: dehedge status --watch")
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="A table that follows the daemon until Ctrl-C.")] = False,
    json_output: Json = False,
    url: Url = "",
    _version: Version = False,
) -> None:
    """Ask the running daemon how it is; exit 1 while it is not ready."""
    if watch and not json_output:
        from dehedge.live import watch_status

        exit_with(lambda: watch_status(url))
    from dehedge.client import print_status

    exit_with(lambda: print_status(url, use_json=json_output))


@app.command(rich_help_panel=FOLLOW, epilog="Example: dehedge hedges --json")
def hedges(json_output: Json = False, url: Url = "", _version: Version = False) -> None:
    """List the hedges that the running daemon holds."""
    from dehedge.client import print_hedges

    exit_with(lambda: print_hedges(url, use_json=json_output))


@app.command(rich_help_panel=FOLLOW, epilog="Example: dehedge explain BTC-USD 0x1f3a")
def explain(
    market: Annotated[str, typer.Argument(help="Such as BTC-USD.")],
    position: Annotated[str, typer.Argument(help="The trader's address, or as much of its beginning as is needed.")],
    json_output: Json = False,
    url: Url = "",
    _version: Version = False,
) -> None:
    """Explain why a position is hedged or not: every figure of the three checks, the decision and its reason."""
    from dehedge import questions

    exit_with(lambda: questions.explain(url, market, position, use_json=json_output))


@app.command(rich_help_panel=FOLLOW, epilog="Example: dehedge trips --limit 5")
def trips(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many positions.")] = 20,
    json_output: Json = False,
    url: Url = "",
    _version: Version = False,
) -> None:
    """List the positions that are nearest to the price at which they turn risky."""
    from dehedge import questions

    exit_with(lambda: questions.list_trips(url, limit, use_json=json_output))


@app.command(
    rich_help_panel=FOLLOW, epilog='Example: dehedge whatif "BTC-USD -10%" "ETH-USD -12%"',
    context_settings={"ignore_unknown_options": True},
)  # fmt: skip
def whatif(
    moves: Annotated[list[str], typer.Argument(help='A market and a percentage each, such as "BTC-USD -10%".')],
    json_output: Json = False,
    url: Url = "",
    _version: Version = False,
) -> None:
    """Tell what would be done if prices moved: hedges, margin, refusals, liquidations. Nothing is sent."""
    from dehedge import questions

    exit_with(lambda: questions.ask_whatif(url, moves, use_json=json_output))


@app.command(rich_help_panel=LOOK_BACK, epilog="Example: dehedge history --since 7d --market BTC-USD")
def history(
    since: Since = "24h",
    market: Annotated[str, typer.Option(help="Of this market alone.")] = "",
    journal: JournalFile = None,
    json_output: Json = False,
    _version: Version = False,
) -> None:
    """Tell from the journal what happened, in words; the daemon may run or not."""
    from dehedge.cli_money import print_history

    exit_with(lambda: print_history(journal, since=since, market=market, use_json=json_output))


@app.command(rich_help_panel=LOOK_BACK, epilog="Example: dehedge report --since 30d --format html --out report.html")
def report(
    since: Since = "7d",
    shape: Annotated[Shape, typer.Option("--format", help="How it is shown.")] = Shape.TEXT,
    out: Annotated[Path | None, typer.Option(help="Write it to this file.")] = None,
    journal: JournalFile = None,
    *,
    json_output: Json = False,
    url: Url = "",
    _version: Version = False,
) -> None:
    """Add up from the journal what each hedge earned and cost, and what the vault would have lost without it."""
    from dehedge.cli_money import write_report

    wanted = Shape.JSON if json_output else shape
    exit_with(lambda: write_report(journal, since=since, shape=wanted, out=out, url=url))


@app.command(rich_help_panel=LOOK_BACK, epilog="Example: dehedge bundle --since 2h --out incident.zip")
def bundle(
    since: Since = "1h",
    out: Annotated[Path | None, typer.Option(help="The file to write; by default named by the time.")] = None,
    journal: JournalFile = None,
    _version: Version = False,
) -> None:
    """Pack what was seen, decided and ordered into one file without secrets, for whoever looks into it."""
    from dehedge.cli_bundle import make_bundle

    exit_with(lambda: make_bundle(journal, since=since, out=out))


REPLAY_EXAMPLE = "Example: dehedge replay --prices BTC-USD=BTCUSDT-1m-2020-03.zip --generate long=0.2 --out report.html"
app.command(rich_help_panel=LOOK_BACK, epilog=REPLAY_EXAMPLE, cls=PlainCommand)(cli_replay.replay)
TUNE_EXAMPLE = "Example: dehedge tune --prices BTC-USD=BTCUSDT-1m-2020-03.zip --policy delta --vary expiry=60,300 --books 10"
app.command(rich_help_panel=LOOK_BACK, epilog=TUNE_EXAMPLE, cls=PlainCommand)(cli_replay.tune)
app.command(rich_help_panel=LOOK_BACK, epilog="Example: dehedge depth btcusdt.jsonl", cls=PlainCommand)(cli_replay.depth)
app.command(rich_help_panel=LOOK_BACK, epilog="Example: dehedge snapshot --out book.csv", cls=PlainCommand)(cli_replay.snapshot)


@app.command(rich_help_panel=STEER, epilog='Example: dehedge pause --level reduce-only --reason "exchange maintenance"')
def pause(
    level: Annotated[Level | None, typer.Option(help="By default at least no-opens: what is stricter stays.")] = None,
    reason: Reason = "",
    url: Url = "",
    _version: Version = False,
) -> None:
    """Stop opening hedges, stop all that adds exposure, or halt; survives restarts."""
    from dehedge import control

    exit_with(lambda: control.pause(url, level.value if level is not None else None, reason))


@app.command(rich_help_panel=STEER, epilog='Example: dehedge resume --reason "all is well"')
def resume(reason: Reason = "", url: Url = "", _version: Version = False) -> None:
    """Hedge again after a pause or a flattening."""
    from dehedge import control

    exit_with(lambda: control.resume(url, reason))


@app.command(rich_help_panel=STEER, epilog="Example: dehedge flatten --timeout 300")
def flatten(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to follow until it is flat.")] = 120.0,
    json_output: Json = False,
    reason: Reason = "",
    url: Url = "",
    _version: Version = False,
) -> None:
    """Close every hedge, and follow until the exchange says that nothing of ours is left; exit 1 when something is."""
    from dehedge import control

    exit_with(lambda: control.flatten(url, reason, is_confirmed=yes, timeout_s=timeout, use_json=json_output))


def _run() -> int:
    settings, symbols = read_configuration()

    from dehedge.logs import configure_logging

    use_json = (settings.log_format or ("json" if settings.is_production else "console")) == "json"
    configure_logging(level=settings.log_level, use_json=use_json, secrets=settings.get_secret_texts())
    _warn_of_doubts()

    # The daemon's libraries take over a second to import; a configuration error is told before that.
    from dehedge.daemon import Daemon

    async def run_daemon() -> None:
        with _journal_at_start():
            daemon = Daemon(settings, symbols)
        await daemon.run()

    asyncio.run(run_daemon())
    return 0


@contextmanager
def _journal_at_start() -> Iterator[None]:
    """A journal that is gone, corrupt or not ours is there at the next start as well: a person has to look at it."""
    try:
        yield
    except (JournalLocked, JournalFailed):
        raise
    except JournalError as error:
        raise ConfigError(str(error)) from error


def _warn_of_doubts() -> None:
    import structlog

    for doubt in find_doubts():
        structlog.get_logger().warning(doubt.event, setting=doubt.setting, detail=doubt.detail, remedy=doubt.remedy)


def _run_async(work: Coroutine[Any, Any, int]) -> int:
    return asyncio.run(work)


def main() -> None:
    app(prog_name="dehedge")
