"""What may not be meant is told, with the nearest name; what may be a secret is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dehedge.doubts import Doubt, find_doubts

SECRET = "kV7mQzP2tWx9LrB4nHs6YcD8fGjA1eU3"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "is_unknown"),
    [
        ("VAULT_FACTR", True),
        ("BINANCE_KEY", True),
        ("LOG_LEVELS", True),
        ("LEVERAGES", True),
        ("MAX_ORDER_NOTIONAL", True),
        ("MIN_FREE_MARGIN", True),
        ("BINANCE_API_KEY_FILE", False),
        ("VAULT_FACTOR_FILE", True),
        ("HTTP_PROXY", False),
        ("NODE_OPTIONS", False),
    ],
)
def test_unknown_variable_of_the_process_is_found_when_it_begins_like_ours(
    monkeypatch: pytest.MonkeyPatch, name: str, is_unknown: bool
):
    monkeypatch.setenv(name, "x")

    assert [doubt.setting for doubt in find_doubts()] == ([name] if is_unknown else [])


def test_every_unknown_name_of_dotenv_is_found_with_the_nearest_known_one(folder: Path):
    (folder / ".env").write_text(
        "# ours\nPOLL_INTERVAL=3\nCONECTOR=paper\nexport LEVERAGE=5\nSOMETHING_ELSE=\nmax_opens_per_hour=1\nHTTP_TOKEN_FIEL=x\n"
    )

    assert find_doubts() == [
        Doubt("variable_unknown", name, f"unknown variable in line {line} of .env", f"{remedy}correct or remove it")
        for name, line, remedy in (
            ("CONECTOR", 3, "did you mean CONNECTOR? "),
            ("HTTP_TOKEN_FIEL", 7, "did you mean HTTP_TOKEN_FILE? "),
            ("POLL_INTERVAL", 2, "did you mean POLL_INTERVAL_SECONDS? "),
            ("SOMETHING_ELSE", 5, ""),
            ("max_opens_per_hour", 6, "did you mean MAX_OPENS_PER_HOUR? "),
        )
    ]


def test_secret_that_lost_its_name_is_told_by_its_line_alone(folder: Path):
    (folder / ".env").write_text(f"LEVERAGE=5\n{SECRET}==\n{SECRET.upper() * 2}=x\n")

    doubts = find_doubts()

    assert [doubt.setting for doubt in doubts] == ["line 3 of .env", "line 2 of .env"]
    assert SECRET.lower() not in str(doubts).lower()


@pytest.mark.parametrize(
    ("count", "lines"),
    [(2, "1 and 2"), (4, "1 and 2 and 3 and 4"), (5, "1, 2, 3, 4, ... and 5"), (900, "1, 2, 3, 4, ... and 900")],
)
def test_lines_of_a_name_are_told_in_short(folder: Path, count: int, lines: str):
    (folder / ".env").write_text("LEVERAGE=5\n" * count)

    (doubt,) = find_doubts()

    assert doubt.detail == f"given in lines {lines} of .env: the last one counts"


def test_name_that_is_given_twice_is_told(folder: Path):
    (folder / ".env").write_text("LEVERAGE=5\nNETWORKS=x\nLEVERAGE=6\n")

    assert find_doubts() == [
        Doubt(
            "variable_given_twice",
            "LEVERAGE",
            "given in lines 1 and 3 of .env: the last one counts",
            "remove the others",
        )
    ]


@pytest.mark.parametrize("is_dotenv", [True, False])
def test_file_that_is_not_read_because_its_secret_is_given_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_dotenv: bool
):
    (folder / ".env").write_text("HTTP_TOKEN=x\n" + "HTTP_TOKEN_FILE=y\n" * is_dotenv)
    monkeypatch.setenv("KEY_FILE", "z")
    if not is_dotenv:
        monkeypatch.setenv("HTTP_TOKEN", "x")
        monkeypatch.setenv("HTTP_TOKEN_FILE", "y")

    (doubt,) = find_doubts()

    assert (doubt.event, doubt.setting) == ("variable_given_twice", "HTTP_TOKEN_FILE")
    assert doubt.detail == "not read, because HTTP_TOKEN is given as well"


def test_file_of_the_process_over_a_secret_of_dotenv_is_no_doubt(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / ".env").write_text("HTTP_TOKEN=x\n")
    monkeypatch.setenv("HTTP_TOKEN_FILE", "y")

    assert find_doubts() == []


def test_table_that_no_connector_has_is_told_with_the_nearest_one(folder: Path):
    (folder / "markets.toml").write_text('"BTC-USD" = "x"\n[binance]\n[paper]\n[binnance]\n')

    assert [(doubt.event, doubt.setting, doubt.remedy) for doubt in find_doubts()] == [
        ("table_unknown", "[BTC-USD] in markets.toml", "correct or remove it"),
        ("table_unknown", "[binnance] in markets.toml", "did you mean [binance]? correct or remove it"),
    ]


@pytest.mark.parametrize("content", [b"[x", b"\xff", b"[" * 2_000, None])
def test_markets_that_cannot_be_read_are_no_doubt(folder: Path, content: bytes | None):
    if content is not None:
        (folder / "markets.toml").write_bytes(content)

    assert find_doubts() == []
