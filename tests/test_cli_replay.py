"""``dehedge replay`` on prices and ``dehedge snapshot``, as commands: what is printed, what is written, how they end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dehedge.cli import app
from dehedge.exits import EXIT_CONFIG, EXIT_CRASHED, EXIT_INTERRUPTED, EXIT_USAGE
from dehedge.replay import session, tune_session
from dehedge.replay.traders import read_book
from dehedge.sim.world import USD, World, build_position
from tests.replay.kit import START_S, run_fake, write_klines
from tests.replay.test_pool import write_walk

ROOT = Path(__file__).parents[1]
PRICES = ("--prices", "BTC-USD=btc.csv", "--generate", "traders=9")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_klines(tmp_path / "btc.csv")
    monkeypatch.setattr(session, "run_story", lambda _, *given: run_fake(*given))
    return tmp_path


def run(*arguments: str, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def test_replay_shows_the_figures_side_by_side():
    text, _ = run("replay", *PRICES, "--policy", "none", "--policy", "delta:expiry=300")

    assert "delta:expiry=300" in text
    assert "BTC-USD: 3 bars of 60 s" in text
    assert "At its worst moment, 2020-03-12T11:43:00Z, the vault lacks 40.00 USD without hedges. Of that is avoided: delta:expiry=300 75.0 %" in text
    lines = [[cell.strip() for cell in line.split("│")[1:4]] for line in text.splitlines() if "protection, before cost" in line]
    assert lines == [["protection, before cost", "0.0 %", "75.0 %"], ["protection, before cost", "0.0 %", "90.0 %"]]
    assert text.index("At the worst moment  ") < text.index("At the end  ") < text.index("Cost, to the end  ") < text.index("Counts  ")


def test_replay_writes_page_data_and_pictures(folder: Path):
    outs = ("--out", "r.html", "--out", "r.json", "--png", "png")
    text, errors = run("replay", *PRICES, *outs, "--json", "--policy", "none", "--policy", "delta", "--policy", "portfolio")

    assert json.loads(text) == json.loads((folder / "r.json").read_text())
    assert (folder / "r.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in (folder / "png").iterdir()) == [
        "cost.png", "price-BTC-USD-delta.png", "price-BTC-USD-portfolio.png", "trade-off.png", "vault.png",
    ]  # fmt: skip
    assert [line.removeprefix("written: ") for line in errors.splitlines()][:2] == ["r.html", "r.json"]
    assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []


def test_replay_writes_no_picture_of_what_cannot_be_compared(folder: Path):
    run("replay", *PRICES, "--png", "png", "--policy", "none", "--policy", "delta")

    assert sorted(path.name for path in (folder / "png").iterdir()) == ["cost.png", "price-BTC-USD-delta.png", "vault.png"]


FIRST_S = {
    "BTCUSDT-1m-2021-05": 1_621_429_320, "BTCUSDT-1m-2021-05-19": 1_621_429_320,
    "BTCUSDT-1m-2025-05": 1_746_373_200, "BTCUSDT-1m-2025-06": 1_748_736_000,
}  # fmt: skip
COMMANDS = 8


def test_replay_of_the_docs_works_with_files_of_these_names(folder: Path):
    pages = ("README.md", "docs/replay.md", "docs/portfolio.md", "docs/evidence.md")
    text = "\n".join((ROOT / page).read_text() for page in pages)
    text = text.replace("\\\n", " ").replace("--books 50", "--books 2").replace("--books 10", "--folds 2")
    text = re.sub(r"traders=[0-9.]+", "traders=20", text)
    commands = [shlex.split(command) for command in re.findall(r"^dehedge ((?:replay|tune) .*)$", text, re.MULTILINE)]
    for name in set(re.findall(r"[A-Z]+USDT-1m-[0-9-]+(?=\.zip)", text)):
        # The commands with a day in them ask for its minutes.
        klines = write_klines(folder / "btc.csv", first_s=FIRST_S.get(name, START_S))
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.write(klines, f"{name}.csv")
    for name in set(re.findall(r"BTCUSDT-fundingRate-[0-9-]+\.zip", text)):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("f.csv", "calc_time,funding_interval_hours,last_funding_rate\n1584014400000,8,0.0001\n")
    (folder / "book.csv").write_text("market,side,size,collateral,opened\nBTC-USD,short,1000,50,2026-11-22\n")

    assert len(commands) == COMMANDS
    for command in commands:
        run(*command)
    assert {"report.html", "figures.json", "charts"} <= {path.name for path in folder.iterdir()}


def test_replay_of_many_books_pools_them_over_windows(folder: Path):
    windows = ("--window", "crash:BTC-USD=btc.csv", "--window", "again:BTC-USD=btc.csv")
    books = ("--generate", "traders=9,long=0.1..0.9", "--shield", "0.1%..1%", "--books", "2", "--policy", "none", "--policy", "delta")
    text, errors = run("replay", *windows, *books, "--out", "s.html", "--out", "s.json", "--png", "png")

    assert [name for name in ("all together", "crash", "again") if re.search(rf"^ +{name} +$", text, re.MULTILINE)] == ["all together", "crash", "again"]
    assert "crash: BTC-USD: 3 bars of 60 s" in text
    data = json.loads((folder / "s.json").read_text())
    assert [(book["window"], book["seed"]) for book in data["books"]] == [("crash", 1), ("crash", 2), ("again", 1), ("again", 2)]
    assert data["groups"][0]["policies"]["delta"]["books"] == 4
    assert (folder / "s.html").read_text().startswith("<!doctype html>")
    assert errors.startswith("written: s.html\nwritten: s.json\n")


def test_replay_of_windows_tells_what_of_the_book_is_in_each(folder: Path):
    (folder / "book.csv").write_text("market,side,size,collateral,opened\nBTC-USD,short,9,5,2026-11-22\nDOGE-USD,short,9,5,2026-11-22\n")
    windows = ("--window", "crash:BTC-USD=btc.csv", "--window", "again:BTC-USD=btc.csv")
    text, _ = run("replay", *windows, "--book", "book.csv", "--at-start", "--policy", "none")

    for name in ("crash", "again"):
        assert f"{name}: book: book.csv: 1 position of 1 trader\n{name}: book: left out 1 position in markets without --prices: DOGE-USD\n" in text


TUNE = ("--generate", "traders=20,long=0.1..0.9", "--shield", "0.1%", "--books", "2", "--policy", "delta", "--vary", "max_opens_per_hour=1,99")


def test_tune_chooses_on_one_part_and_shows_the_next(folder: Path):
    write_walk(folder / "walk.csv", 1, 40)
    text, errors = run("tune", "--prices", "BTC-USD=walk.csv", *TUNE, "--folds", "2", "--out", "t.html", "--out", "t.json", "--png", "png")

    data = json.loads((folder / "t.json").read_text())
    assert [(fold["chosen_on"], fold["shown_on"]) for fold in data["folds"]] == [(["part 1"], "part 2"), (["part 1", "part 2"], "part 3")]
    assert data["tried"].keys() == {"delta:max_opens_per_hour=1", "delta:max_opens_per_hour=99"}
    assert all(each["books"] == 6 for each in data["tried"].values())
    assert float(data["tried"]["delta:max_opens_per_hour=99"]["cost"]) > float(data["tried"]["delta:max_opens_per_hour=1"]["cost"]) > 0
    assert "Chosen on one part, shown on another" in text
    assert "Chosen on everything together, and so shown on nothing: delta:max_opens_per_hour=" in text
    assert f"as you have it:\n{chr(10).join(data['env'])}\n" in text
    assert data["env"][:2] == ["RISK_SCOPE=position", "HEDGE_SIZING=delta"]
    assert (folder / "t.html").read_text().startswith("<!doctype html>")
    assert errors == "written: t.html\nwritten: t.json\nwritten: png/trade-off.png\n"


def test_tune_draws_other_books_for_each_window(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write_walk(folder / "walk.csv", 1)
    jobs, run_jobs = [], tune_session.run_jobs
    monkeypatch.setattr(tune_session, "run_jobs", lambda inputs, given, tell: jobs.extend(given) or run_jobs(inputs, given, tell))

    run("tune", "--prices", "BTC-USD=walk.csv", *TUNE, "--folds", "1")

    assert [(job.window, job.number) for job in jobs] == [(0, 0), (0, 1), (1, 2), (1, 3)]


def test_tune_leaves_each_window_out_once(folder: Path):
    write_walk(folder / "walk.csv", 1)
    text, _ = run("tune", "--window", "a:BTC-USD=walk.csv", "--window", "b:BTC-USD=walk.csv", *TUNE, "--json")

    data = json.loads(text)
    assert [(fold["chosen_on"], fold["shown_on"]) for fold in data["folds"]] == [(["b"], "a"), (["a"], "b")]
    again, _ = run("tune", "--window", "a:BTC-USD=walk.csv", "--window", "b:BTC-USD=walk.csv", *TUNE, "--json")
    assert again == text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--prices: give BTC-USD=FILE"), (("--prices", "BTC-USD=btc.csv", "--folds", "3"), "--folds: BTC-USD has no prices in part"),
        (("--prices", "BTC-USD=btc.csv", "--folds", "0"), "--folds: 0 is not a number from 1 to 100"),
        (("--window", "a:B=btc.csv", "--window", "b:B=btc.csv", "--folds", "2"), "--folds cuts one history"),
        (("--prices", "BTC-USD=btc.csv", "--protection", "101%"), "--protection: '101' is not a number from 0 to 100"),
        (("--prices", "BTC-USD=btc.csv", "--vary", "networks=x"), "'networks' decides nothing"),
        (("--prices", "BTC-USD=btc.csv", "--policy", "delta", "--policy", "delta"), "--policy: delta is given twice"),
        (("--prices", "BTC-USD=btc.csv", "--vary", "expiry=x"), "hedge_expiry_seconds wants"),
    ],
)  # fmt: skip
def test_tune_tells_in_one_line_what_it_cannot_do(arguments: tuple[str, ...], words: str):
    text, errors = run("tune", *arguments, code=EXIT_USAGE)

    assert text == ""
    assert len(errors.splitlines()) == 1
    assert words in errors


def test_depth_prints_the_options_to_use(folder: Path):
    book = {"lastUpdateId": 4, "E": 1_700_000_000_000, "s": "BTCUSDT", "bids": [["99.99", "9000000"]], "asks": [["100.01", "9000000"]]}
    (folder / "f.jsonl").write_text(json.dumps({"recv_ns": 1, "msg": book}))

    text, _ = run("depth", "f.jsonl")
    assert "BTCUSDT: 2023-11-14T22:13:20Z to 2023-11-14T22:13:20Z, 1 looks at the book" in text
    assert "BTCUSDT, both sides: --spread 1.0000 --depth 0" in text
    assert text.count("│") > 8 * 8

    data = json.loads(run("depth", "f.jsonl", "--json")[0])
    assert data[0]["fits"]["both"]["half_spread_bps"] == "1"
    assert data[0]["slips"]["sell"][3]["size_usd"] == 5_000_000


def test_depth_tells_in_one_line_what_it_cannot_read(folder: Path):
    assert run("depth", code=EXIT_USAGE)[1].startswith("dehedge: Missing argument")
    assert run("depth", "f.jsonl", "--every", "0", code=EXIT_USAGE)[1].startswith("dehedge: --every: ")
    (folder / "f.jsonl").write_text('{"e":"trade"}\n')
    assert run("depth", "f.jsonl", code=EXIT_CONFIG)[1].startswith("dehedge: f.jsonl: has no order book")
    (folder / "f.jsonl").write_text("\n{")
    assert run("depth", "f.jsonl", code=EXIT_CONFIG)[1] == "dehedge: f.jsonl:2: is not JSON\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), EXIT_USAGE, "--prices: give BTC-USD=FILE; only `dehedge replay` takes a .zip of `dehedge bundle` instead"),
        (("--prices", "BTC-USD=gone.csv"), EXIT_CONFIG, "gone.csv: is not a file"),
        (("x.zip", *PRICES), EXIT_USAGE, "x.zip: give a bundle or --prices, not both"),
        ((*PRICES, "--leverage", "200"), EXIT_USAGE, "--leverage: 200 is not a number from 1 to 125"),
        ((*PRICES, "--leverage", "x"), EXIT_USAGE, "--leverage: Input should be a valid integer, unable to parse string as an integer"),
        ((*PRICES, "--out", "r.pdf"), EXIT_USAGE, "--out: r.pdf: is neither .html nor .json"),
        ((*PRICES, "--out", "no/r.html"), EXIT_USAGE, "--out: no/r.html: there is no such folder"),
        ((*PRICES, "--png", "btc.csv/png"), EXIT_CRASHED, "--png: btc.csv/png: Not a directory; give another folder"),
    ],
)
def test_replay_tells_in_one_line_what_it_cannot_do(arguments: tuple[str, ...], code: int, words: str):
    _, errors = run("replay", *arguments, code=code)

    assert errors == f"dehedge: {words}\n"


def test_interrupt_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "run_story", interrupt)

    assert run("replay", *PRICES, code=EXIT_INTERRUPTED) == ("", "dehedge: interrupted before it was done\n")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--out=/proc/x.html", "--out: /proc/x.html: No such file or directory; give another place"),
        ("--png=/proc/no/png", "--png: /proc/no/png: No such file or directory; give another folder"),
    ],
)
@pytest.mark.parametrize("command", ["replay", "tune"])
def test_place_that_cannot_be_written_ends_it_before_the_run(command: str, option: str, words: str):
    _, errors = run(command, "--prices", "BTC-USD=gone.csv", option, code=EXIT_CRASHED)

    assert errors == f"dehedge: {words}\n"


def test_replay_tells_the_line_and_writes_nothing_when_a_file_is_bad(folder: Path):
    write_klines(folder / "btc.csv", ["1,2,1,1,1", "1,2,3,1,1"])

    text, errors = run("replay", *PRICES, "--out", "r.html", code=EXIT_CONFIG)

    assert (text, errors) == ("", "dehedge: btc.csv:3: wants 0 < low <= open and close <= high\n")
    assert not (folder / "r.html").exists()


async def take_snapshot(**variables: str) -> tuple[int | None, str, str]:
    """As a process of its own, because it sets up logging for all of it."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dehedge", "snapshot", "--out", "book.csv", env={**kept, **variables},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


async def test_snapshot_writes_every_position_of_the_chain(folder: Path):
    world = World({"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}, use_anvil=False)
    await world.start()
    try:
        await world.chain.put(build_position(0xA1, "BTC-USD", is_long=True, size_usd=1_000, price=Decimal(60_000)))
        await world.chain.put(build_position(0xA2, "ETH-USD", is_long=False, size_usd=2_000, price=Decimal(3_000)))
        await world.chain.set_vault(500_000 * USD)
        await world.chain.set_shield(600 * USD + 1)
        code, text, _ = await take_snapshot(NETWORKS=world.chain.url)
    finally:
        await world.stop()

    book = read_book(folder / "book.csv")
    assert code == 0
    assert "written: book.csv: 2 positions of block" in text
    assert (book.vault, book.shield) == (500_000 * USD, 600 * USD + 1)
    assert sorted((trader.market, trader.is_long, trader.size) for trader in book.traders) == [
        ("BTC-USD", True, 1_000 * USD), ("ETH-USD", False, 2_000 * USD),
    ]  # fmt: skip


async def test_snapshot_tells_in_one_line_when_no_node_answers(folder: Path):
    code, _, errors = await take_snapshot(NETWORKS="http://127.0.0.1:1/v2/a-key-of-a-test")

    assert code == EXIT_CRASHED
    assert len(errors.splitlines()) == 1
    assert "127.0.0.1" in errors
    assert "a-key-of-a-test" not in errors
    assert not (folder / "book.csv").exists()


def test_snapshot_tells_what_is_not_set_or_not_there():
    assert "NETWORKS: not set" in run("snapshot", code=EXIT_CONFIG)[1]
    assert "--out: no/b.csv: there is no such folder" in run("snapshot", "--out", "no/b.csv", code=EXIT_USAGE)[1]
