"""What files of prices, funding and traders may hold: sound values, or one ``ConfigError`` that names the file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given

from dehedge.errors import ConfigError, QuestionInvalid
from dehedge.replay.funding import RATE_MAX, read_funding
from dehedge.replay.generator import generate_traders, parse_plan
from dehedge.replay.klines import read_klines
from dehedge.replay.sheets import TIME_MAX_S
from dehedge.replay.traders import read_book
from tests.fuzz.hostile import NUMBERS, TEXTS, attack, damage, fuzz, seeds

LINE_MAX = 600
KLINES = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume\n"
    b"1584013260000,6082.80,6090.21,5984.01,5985.20,1234.697,1584013319999,7389908.4\n"
    b"1584013320000,5985.20,6004.83,5900.00,5912.76,1573.415,1584013379999,9303225.1\n"
    b"1584013440000,5912.76,5950,5633.9,5700.1,99,1584013499999,\n"
)
FUNDING = b"calc_time,funding_interval_hours,last_funding_rate\n1701388800004,8,0.0001\n1701417600000,8,-3e-5\n"
BOOK = (
    b"# vault 1000\n# shield 1.5\nmarket,user,side,size,collateral,entry_price,opened,closed\n"
    b"BTC-USD,0x00000000000000000000000000000000000000aa,long,1000.5,20,6000.1,2020-03-12T11:41:00Z,\n"
    b"ETH-USD,,short,7,0.000001,,1584013260,1584013290\n"
)
NAMED = (b"open_time", b"TIME", b"close", b"market", b"user", b"rate", b"# vault 5", b"#", b"0x" + b"f" * 40, b"long", b"1e9", b'"')


def spoil_table(random: Random, good: bytes) -> bytes:
    """Fields and lines replaced, doubled, taken away and turned round; now and then packed, well or badly."""
    rows = [line.split(b",") for line in good.split(b"\n")]
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        row = random.choice(rows)
        place = random.randrange(len(row))
        match random.choice(("field", "field", "drop", "double", "line", "turn")):
            case "field":
                row[place] = build_field(random)
            case "drop":
                del row[place : place + 1]
                row += [] if row else [b""]
            case "double":
                row.insert(place, row[place])
            case "line":
                rows.insert(random.randrange(len(rows)), list(random.choice(rows)))
            case "turn":
                random.shuffle(rows)
    text = damage(random, b"\n".join(map(b",".join, rows)))
    return damage(random, pack(text)) if random.randrange(5) == 0 else text


def build_field(random: Random) -> bytes:
    known = random.choice((TEXTS, tuple(map(str, NUMBERS)), NAMED))
    field = random.choice(known)
    return field if isinstance(field, bytes) else field.encode("utf-8", "surrogatepass")


def pack(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    return packed.getvalue()


def listen(work: Callable[[], None], expected: type[Exception]) -> str | None:
    """What was told of an expected error: one short line, with nothing in it that a terminal would obey."""
    told = None
    try:
        work()
    except expected as error:
        told = str(error)
    assert told is None or (told.isprintable() and len(told) < LINE_MAX)
    return told


def attack_reader(random: Random, path: Path, good: bytes, read: Callable[[], None]) -> None:
    def check(payload: bytes) -> None:
        path.write_bytes(payload)
        told = listen(read, ConfigError)
        assert told is None or str(path) in told or "step" in told

    attack(random, lambda source: spoil_table(source, good), check)


@fuzz(30)
@given(seeds)
def test_klines_of_any_bytes_are_sound_or_refused(tmp_path: Path, random: Random):
    path = tmp_path / "k.csv"

    def read() -> None:
        bars = read_klines("M", [path])
        assert len({len(column) for column in (bars.start_s, *bars[3:])}) == 1
        assert all(0 <= at_s < TIME_MAX_S for at_s in bars.start_s.tolist())
        assert bars.step_s > 0
        assert (bars.start_s[1:] - bars.start_s[:-1] >= bars.step_s).all()
        assert (bars.low >= 1).all()
        assert (bars.high < 10**15).all()
        assert (bars.quote_volume >= 0).all()

    attack_reader(random, path, KLINES, read)


@fuzz(20)
@given(seeds)
def test_funding_of_any_bytes_is_sound_or_refused(tmp_path: Path, random: Random):
    path = tmp_path / "f.csv"

    def read() -> None:
        rates = read_funding([path])
        assert [rate.at_s for rate in rates] == sorted({rate.at_s for rate in rates})
        assert all(rate.rate.is_finite() and abs(rate.rate) <= RATE_MAX for rate in rates)

    attack_reader(random, path, FUNDING, read)


@fuzz(20)
@given(seeds)
def test_book_of_any_bytes_is_sound_or_refused(tmp_path: Path, random: Random):
    path = tmp_path / "b.csv"

    def read() -> None:
        book = read_book(path)
        assert book.traders
        for trader in book.traders:
            assert trader.size > 0
            assert trader.collateral >= 0
            assert len(trader.user) == 42
            assert trader.closed_s is None or trader.closed_s > trader.opened_s

    attack_reader(random, path, BOOK, read)


@fuzz(20)
@given(seeds)
def test_plan_of_any_words_is_a_book_or_refused(random: Random):
    good = b"seed=7,traders=3,long=0.2,size=10,sigma=1,gross=5,leverage=5:1/10:2,hold=1,away=1,markets=M:1"

    def generate(text: str) -> None:
        plan = parse_plan(text)
        if plan.traders <= 100 and plan.hold + plan.away > 0.1:
            assert all(trader.size > 0 for trader in generate_traders(plan, ["M"], (0, 1_000)))

    def check(payload: bytes) -> None:
        listen(lambda: generate(payload.decode("utf-8", "replace")), QuestionInvalid)

    attack(random, lambda source: spoil_table(source, good), check)


def test_unpacked_size_is_bounded_when_a_zip_claims_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dehedge.replay.sheets.BYTES_MAX", 1_000)
    (tmp_path / "bomb.zip").write_bytes(pack(b"1" * 100_000))

    with pytest.raises(ConfigError, match=r"bomb\.zip: unpacks to more than 1000 bytes"):
        read_klines("M", [tmp_path / "bomb.zip"])
