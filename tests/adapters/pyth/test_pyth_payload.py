"""The parser: exact on real replies, and never anything but a typed error on any others."""

import copy
import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.hostile import hurried

from dehedge.adapters.pyth import FeedPrice, parse_reply
from dehedge.adapters.pyth.payload import Reply, read_feed_id
from dehedge.errors import PriceUnavailable
from dehedge.sim.hermes.prices import PriceBoard, Wanted

BTC = "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"
OTHER = "49f6b65cb1de6b10eaf75e7c03ca029c306d0357e91b5311b175084a5ad55688"

# As recorded from the public service, without the binary part.
RECORDED = {
    "binary": {"encoding": "hex", "data": []},
    "parsed": [
        {
            "id": BTC,
            "price": {"price": "6140993501000", "conf": "3287868567", "expo": -8, "publish_time": 1714746101},
            "ema_price": {"price": "6094004700000", "conf": "3792887800", "expo": -8, "publish_time": 1714746101},
            "metadata": {
                "slot": 138881186,
                "proof_available_time": 1714746103,
                "prev_publish_time": 1714746101,
            },
        },
        {
            "id": OTHER,
            "price": {"price": "33223750", "conf": "15272", "expo": -5, "publish_time": 1785424136},
            "ema_price": {"price": "33182101", "conf": "21716", "expo": -5, "publish_time": 1785424136},
            "metadata": {
                "slot": 305542333,
                "proof_available_time": 1785424138,
                "prev_publish_time": 1785424136,
            },
        },
    ],
}


def changed(**price):
    """The recorded reply with other fields in its first price."""
    document = copy.deepcopy(RECORDED)
    document["parsed"][0]["price"].update(price)
    return json.dumps(document)


def test_parser_reads_a_recorded_reply_exactly():
    reply = parse_reply(json.dumps(RECORDED))

    assert reply.prices == (
        FeedPrice(BTC, 61_409_935_010_000_000_000_000, 32_878_685_670_000_000_000, 1714746101, 138881186),
        FeedPrice(OTHER, 332_237_500_000_000_000_000, 152_720_000_000_000_000, 1785424136, 305542333),
    )
    assert reply.malformed == {}


def test_parser_reads_bytes_and_text_alike():
    assert parse_reply(json.dumps(RECORDED).encode()) == parse_reply(json.dumps(RECORDED))


@pytest.mark.parametrize("expo", range(-18, 13))
def test_parser_scales_every_exponent_exactly(expo):
    price = parse_reply(changed(price="123456789", conf="7", expo=expo)).prices[0]

    assert Fraction(price.price, 10**18) == 123456789 * Fraction(10) ** expo
    assert Fraction(price.confidence, 10**18) == 7 * Fraction(10) ** expo


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expo", -19),
        ("expo", 13),
        ("expo", None),
        ("expo", "eight"),
        ("expo", -8.0),
        ("expo", True),
        ("price", None),
        ("price", ""),
        ("price", "1e5"),
        ("price", "1_000"),
        ("price", " 1"),
        ("price", "١٢٣"),
        ("price", "0x10"),
        ("price", 1.5),
        ("price", "9" * 400),
        ("price", 10**30),
        ("price", []),
        ("conf", None),
        ("conf", "NaN"),
        ("publish_time", None),
        ("publish_time", 0),
        ("publish_time", -1),
        ("publish_time", 1 << 41),
        ("publish_time", 1.5),
    ],
)
def test_parser_gives_up_one_feed_only_when_its_entry_is_malformed(field, value):
    reply = parse_reply(changed(**{field: value}))

    assert [price.feed_id for price in reply.prices] == [OTHER]
    assert list(reply.malformed) == [BTC]
    assert field in reply.malformed[BTC]
    assert reply.feed_ids == {BTC, OTHER}


def test_parser_gives_up_one_feed_only_when_its_price_is_missing():
    document = copy.deepcopy(RECORDED)
    del document["parsed"][0]["price"]

    assert parse_reply(json.dumps(document)).malformed == {BTC: "there is no price in it"}


@pytest.mark.parametrize("metadata", [None, [], {}, {"slot": None}, {"slot": "1"}, {"slot": True}])
def test_parser_reads_a_price_without_its_slot(metadata):
    document = copy.deepcopy(RECORDED)
    document["parsed"][0]["metadata"] = metadata

    assert parse_reply(json.dumps(document)).prices[0].slot is None


def test_parser_accepts_negative_numbers_and_json_integers():
    price = parse_reply(changed(price=-5, conf="-1", expo=0)).prices[0]

    assert (price.price, price.confidence) == (-5 * 10**18, -(10**18))


def test_parser_reads_the_reply_that_the_stand_in_writes():
    board = PriceBoard(lambda: 1714746101.7)
    board.set(BTC, Decimal("61409.93501"), Decimal("32.87868567"), None)

    reply = parse_reply(json.dumps(board.build_payload(Wanted((BTC,)))))

    assert reply.prices[0][:4] == (BTC, 61_409_935_010_000_000_000_000, 32_878_685_670_000_000_000, 1714746101)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Hermes sent an empty reply"),
        (b"", "Hermes sent an empty reply"),
        (" \n", "Hermes sent an empty reply"),
        ("<!DOCTYPE html><html>", "Hermes sent HTML instead of JSON: is PYTH_PRICE_SERVICE its base URL?"),
        (b"  <html>", "Hermes sent HTML instead of JSON: is PYTH_PRICE_SERVICE its base URL?"),
        ('{"parsed": [', "Hermes sent malformed or truncated JSON of 12 characters"),
        (b"\xff\xfe\xfa", "Hermes sent malformed or truncated JSON of 3 characters"),
        ("[" * 200_000, "Hermes sent malformed or truncated JSON of 200000 characters"),
        ("1" * 5_000, "Hermes sent malformed or truncated JSON of 5000 characters"),
        ("[]", "Hermes sent JSON without a list of parsed prices: is PYTH_PRICE_SERVICE a Hermes?"),
        ("null", "Hermes sent JSON without a list of parsed prices: is PYTH_PRICE_SERVICE a Hermes?"),
        ("{}", "Hermes sent JSON without a list of parsed prices: is PYTH_PRICE_SERVICE a Hermes?"),
        ('{"parsed": null}', "Hermes sent JSON without a list of parsed prices: is PYTH_PRICE_SERVICE a Hermes?"),
        ('{"parsed": [1]}', "Hermes sent a price without a feed id"),
        ('{"parsed": [{"id": 5}]}', "Hermes sent a price without a feed id"),
        ('{"parsed": [{"id": "abc"}]}', "Hermes sent a price without a feed id"),
    ],
)
def test_parser_raises_a_plain_error_when_the_reply_is_malformed(text, message):
    with pytest.raises(PriceUnavailable) as caught:
        parse_reply(text)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "feed_id"),
    [(BTC, BTC), ("0x" + BTC, BTC), (BTC.upper(), BTC), ("0X" + BTC.upper(), BTC), (BTC[1:], None), ("", None)],
)
def test_feed_id_is_read_in_every_spelling(text, feed_id):
    assert read_feed_id(text) == feed_id


def check_outcome(text):
    """A reply or the typed error; anything else escapes and fails the test."""
    try:
        reply = parse_reply(text)
    except PriceUnavailable:
        return
    assert isinstance(reply, Reply)
    for price in reply.prices:
        assert all(type(value) is int for value in price[1:4])
        assert price.publish_time > 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(BTC),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ENTRY = st.fixed_dictionaries(
    {"id": st.just(BTC) | JSON},
    optional={
        "price": JSON
        | st.fixed_dictionaries(
            {},
            optional={
                name: JSON | st.integers(-30, 2_000_000_000) | st.from_regex(r"-?[0-9]{1,25}", fullmatch=True)
                for name in ("price", "conf", "expo", "publish_time")
            },
        ),
        "metadata": JSON | st.fixed_dictionaries({"slot": JSON}),
    },
)


@given(st.text() | st.binary())
def test_parser_never_raises_anything_else_on_any_text(text):
    check_outcome(text)


@given(JSON)
def test_parser_never_raises_anything_else_on_any_json(document):
    check_outcome(json.dumps(document))


@given(st.fixed_dictionaries({"parsed": st.lists(ENTRY, max_size=3)}))
def test_parser_never_raises_anything_else_on_anything_like_a_reply(document):
    check_outcome(json.dumps(document))


@given(st.integers(0, len(json.dumps(RECORDED))), st.binary(max_size=3))
def test_parser_never_raises_anything_else_on_a_damaged_reply(cut, noise):
    text = json.dumps(RECORDED).encode()
    check_outcome(text[:cut])
    check_outcome(text[:cut] + noise + text[cut + len(noise) :])


@pytest.mark.parametrize("text", ['{"parsed":[' + "[]," * 10**6 + "0]}", "[" * 10**6, '{"a":' * 10**6])
def test_reply_of_many_parts_is_refused_at_once(text):
    with hurried(0.5), pytest.raises(PriceUnavailable, match="malformed or truncated JSON"):
        parse_reply(text)
