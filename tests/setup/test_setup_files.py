"""What the files of a new configuration say, and that they are read as they were meant."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.environment import read_environment
from dehedge.errors import DehedgeError
from dehedge.markets import read_markets
from dehedge.setup import files
from dehedge.setup.files import render_dotenv, render_markets, write_file
from dehedge.setup.matching import Match

ROOT = Path(__file__).resolve().parents[2]
MATCHES = [Match("BTC-USD", "BTCUSDT"), Match("FOO-USD", reason="the exchange lists no perpetual of FOO")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "value",
    ["plain", "https://node.example/v1?key=a&b=c~d", "two words", "#hash", "it's", 'a "b"', "a\\b", "a\\'b", "${HOME}", "ä", "a #b"],
)
def test_value_is_read_as_it_was_given(value: str):
    Path(".env").write_text(render_dotenv({"NETWORKS": value, "PYTH_API_KEY": "k"}), encoding="utf-8")

    assert read_environment().values["NETWORKS"] == value
    assert read_environment().values["PYTH_API_KEY"] == "k"


def test_words_of_the_example_stay_around_the_values():
    text = render_dotenv({"NETWORKS": "https://a", "CONNECTOR": "paper"})
    example = (ROOT / ".env.example").read_text()

    changed = [(old, new) for old, new in zip(example.splitlines(), text.splitlines(), strict=True) if old != new]
    assert [new for _, new in changed] == [changed[0][1], "NETWORKS=https://a", "CONNECTOR=paper"]
    assert changed[0][1].startswith("# Made by `dehedge init`. What stands behind a #")


def test_example_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "PLACES", (Path("nowhere"),))

    with pytest.raises(DehedgeError, match=r"lacks \.env\.example"):
        render_dotenv({})


def test_markets_have_a_line_each_and_what_is_not_hedged_its_reason():
    Path("markets.toml").write_text(text := render_markets(MATCHES))

    assert read_markets("paper") == {"BTC-USD": "BTCUSDT"}
    assert '# "FOO-USD": the exchange lists no perpetual of FOO\n' in text


@given(st.text())
def test_name_from_the_chain_never_breaks_the_file(name: str):
    text = render_markets([Match("BTC-USD", "BTCUSDT"), Match(name, reason=name)])

    assert tomllib.loads(text) == {"binance": {"BTC-USD": "BTCUSDT"}}


def test_file_is_readable_by_its_owner_alone_when_it_holds_keys(folder: Path):
    write_file(path := folder / ".env", "A=1\n", mode=0o600, may_replace=False)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "A=1\n"


def test_file_that_is_there_is_replaced_only_when_it_may_be(folder: Path):
    path = folder / ".env"
    path.write_text("old")
    path.chmod(0o644)

    with pytest.raises(DehedgeError, match="cannot be written: File exists"):
        write_file(path, "new", mode=0o600, may_replace=False)
    assert path.read_text() == "old"

    write_file(path, "new", mode=0o600, may_replace=True)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in folder.iterdir()] == [".env"]


def test_folder_that_is_gone_is_told(tmp_path: Path):
    with pytest.raises(DehedgeError, match="init: .* cannot be written: No such file"):
        write_file(tmp_path / "gone" / ".env", "", mode=0o600, may_replace=False)
