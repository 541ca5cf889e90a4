"""An incident packed and run again: a real daemon's, while it runs and after it was killed; and nothing secret in it."""

from __future__ import annotations

import asyncio
import json
import sys
import zipfile
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dehedge.adapters.journal_reader import JournalReader
from dehedge.bundle import MANIFEST, PASSES, describe_settings, replay_bundle
from dehedge.config import read_settings
from dehedge.errors import DehedgeError
from dehedge.reporting.reading import read_records
from dehedge.sim.world import DaemonProcess, wait_until
from tests.test_cli import build_environment
from tests.test_daemon import TARGET, a_long, a_world, net_becomes
from tests.test_secrets import CANARIES

pytestmark = pytest.mark.timeout(240)

SECRET_NAMES = ("KEY", "PYTH_API_KEY", "BINANCE_API_KEY", "BINANCE_API_SECRET", "HTTP_TOKEN")


@asynccontextmanager
async def a_hedged_world(tmp_path: Path):
    """A hedge that was opened, and one that was closed again."""
    secret = CANARIES["private_key"]
    async with a_world(tmp_path, STATE_URL="sqlite:///dehedge.db", KEY=secret) as (world, daemon):
        await world.chain.put(a_long())
        await daemon.start()
        await net_becomes(world, daemon, TARGET)
        yield world, daemon


async def run(daemon: DaemonProcess, *arguments: str) -> tuple[int, str]:
    """A command in the daemon's folder and environment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dehedge", *arguments, cwd=daemon.folder,
        env=build_environment({**daemon._environment, "HTTP_PORT": "1"}),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def look(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("dehedge.db") and path.is_file()}


async def wait_for_receipt(daemon: DaemonProcess) -> None:
    async def check() -> bool:
        return '"order_priced"' in daemon.log_text

    await wait_until(check, "the receipt", 30)


async def test_incident_is_read_packed_and_run_again_beside_the_daemon_and_after_its_death(tmp_path: Path):
    async with a_hedged_world(tmp_path) as (world, daemon):
        await wait_for_receipt(daemon)
        answer = await daemon.fetch("/api/v1/history?limit=5")
        assert [event["kind"] for event in answer["events"]] == ["order_intended", "hedge_opened", "order_priced"]

        journal = JournalReader(daemon.folder / "dehedge.db")
        records = read_records(journal.read())
        fees = sum(fee.amount for life in records.lives for fill in life.fills for fee in fill.fees)
        assert fees == sum(fill.commission for fill in world.exchange.ledger.fills) > 0
        assert (await run(daemon, "bundle", "--out", "running.zip"))[0] == 0

        await daemon.kill()
        before = look(daemon.folder)
        code, text = await run(daemon, "history")
        assert (code, "hedge of a long opened by 0.166" in text) == (0, True)
        assert read_records(journal.read()) == records
        (daemon.folder / "dead.zip").touch(mode=0o644)
        assert (await run(daemon, "bundle", "--out", "dead.zip"))[0] == 0
        assert (daemon.folder / "dead.zip").stat().st_mode & 0o777 == 0o600
        code, text = await run(daemon, "bundle", "--out", "dehedge.db")
        assert (code, text.splitlines()[-1].endswith("is a database, such as a journal; give another file")) == (1, True)
        assert look(daemon.folder) == before

        secrets = {name: daemon._environment.get(name, "") for name in SECRET_NAMES}
        for name in ("running.zip", "dead.zip"):
            outcome = await asyncio.to_thread(replay_bundle, daemon.folder / name)
            assert (outcome.difference, outcome.decisions > 0) == (None, True)
            check_bundle(daemon.folder / name, secrets)


def check_bundle(path: Path, secrets: Mapping[str, str]) -> None:
    """It holds the opening and what it was decided from, and none of the canaries."""
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    rows = [json.loads(line) for line in texts[PASSES].splitlines()]
    opened = [row for row in rows if any(kind == "OpenHedge" for kind, _ in row["decisions"])]
    assert len(opened) == 1
    assert len(opened[0]["pass"]["snapshot"]["positions"]) == 1
    assert "OrderIntended" in texts["journal.jsonl"]
    assert json.loads(texts[MANIFEST])["passes"] == len(rows)
    config = json.loads(texts["config.json"])
    assert (config["settings"]["KEY"], config["settings"]["HEDGE_SIZING"]) == ("set", "notional")
    found = [(file, name) for file, text in texts.items() for name, secret in secrets.items() if secret and secret in text]
    assert found == []


def a_bundle(path: Path, passes: str, **manifest: object) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(PASSES, passes)
        archive.writestr(MANIFEST, json.dumps({"bundle": 1, "version": "0.1.0", **manifest}))
    return path


def test_first_difference_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from dehedge.adapters.pass_rows import encode_pass
    from dehedge.cli_bundle import replay
    from tests.adapters.test_recorder import a_view

    line = encode_pass(a_view(), ()).decode()
    data = json.loads(line)
    data["decisions"][0][1]["share"][1] = "0.1"
    other = a_bundle(tmp_path / "other.zip", line + json.dumps(data) + "\n")
    same = a_bundle(tmp_path / "same.zip", line * 3)

    assert replay(same, use_json=False) == 0
    assert capsys.readouterr().out == "3 passes with 3 decisions, recorded by dehedge 0.1.0\nthe same decisions\n"
    assert replay(other, use_json=False) == 1
    told = capsys.readouterr().out
    assert "another decision in the pass of 2027-01-15 08:00:00 UTC, number 1 of it" in told
    assert replay(other, use_json=True) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["passes"], shown["same"], shown["difference"]["decision"]) == (2, False, 1)
    assert shown["difference"]["recorded"][1]["share"][1] == "0.1"

    data["decisions"] = []
    outcome = replay_bundle(a_bundle(tmp_path / "fewer.zip", json.dumps(data)))
    assert outcome.difference is not None
    assert (outcome.difference.recorded, outcome.difference.now is None) == (None, False)


def damage(path: Path, place: int) -> None:
    """A bundle whose compressed passes were altered."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(PASSES, "".join(f"{number}," for number in range(1_000)))
        archive.writestr(MANIFEST, json.dumps({"version": "0.1.0"}))
    content = path.read_bytes()
    path.write_bytes(content[:place] + b"\xff\xff\xff\xff" + content[place + 4 :])


def encrypt(path: Path) -> None:
    """As far as it says: the flag of every entry is set."""
    content = bytearray(path.read_bytes())
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        found = content.find(sign)
        while found >= 0:
            content[found + place] |= 1
            found = content.find(sign, found + 1)
    path.write_bytes(content)


def test_version_of_a_bundle_cannot_move_the_terminals_cursor(tmp_path: Path):
    assert replay_bundle(a_bundle(tmp_path / "some.zip", "", version="1.0\x1b[2J\n")).version == "1.0?[2J?"


@pytest.mark.parametrize("make", [
    lambda path: path, lambda path: path.write_bytes(b"garbage"), lambda path: path.mkdir(),
    lambda path: zipfile.ZipFile(path, "w").close(), lambda path: a_bundle(path, "{}\n"),
    lambda path: damage(path, 60), lambda path: encrypt(a_bundle(path, "{}\n")), lambda path: a_bundle(path, "[" * 100_000),
])  # fmt: skip
def test_what_is_no_bundle_is_refused_in_one_line(tmp_path: Path, make):
    path = tmp_path / "some.zip"
    make(path)

    with pytest.raises(DehedgeError) as caught:
        replay_bundle(path)
    assert "\n" not in str(caught.value)


def test_settings_are_shown_without_what_may_be_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "NETWORKS": f"https://node.example/v2/{CANARIES['path_key']},https://other.example?key={CANARIES['query_key']}",
        "NETWORKS_WS": f"wss://node.example/{CANARIES['path_key']}",
        "PYTH_PRICE_SERVICE": f"https://hermes.example/{CANARIES['path_key']}",
        "BINANCE_FUTURES_URL": f"https://operator:{CANARIES['password']}@exchange.example/{CANARIES['path_key']}",
        "BINANCE_API_KEY": CANARIES["api_key"], "BINANCE_API_SECRET": CANARIES["api_secret"],
        "HTTP_TOKEN": CANARIES["token"], "KEY": CANARIES["private_key"],
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    text = json.dumps(describe_settings(read_settings(), {"BTC-USD": "BTCUSDT"}))

    assert [name for name, secret in CANARIES.items() if secret in text] == []
    shown = json.loads(text)["settings"]
    assert shown["NETWORKS"] == ["https://node.example/...", "https://other.example/..."]
    assert (shown["HTTP_TOKEN"], shown["PYTH_API_KEY"], shown["LEVERAGE"]) == ("set", None, 20)
    assert describe_settings(None, {})["settings"] is None
