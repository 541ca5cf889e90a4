"""What nodes say, and what it is taken for."""

from __future__ import annotations

import pytest
from tests.fuzz.hostile import hurried

from dehedge.adapters.chain.failures import (
    TEXT_LENGTH_MAX,
    BlockGone,
    CallReverted,
    CallTooLarge,
    NodeThrottled,
    build_failure,
    build_line,
    describe_revert,
)
from dehedge.errors import ChainUnavailable
from dehedge.sim.chain.reverts import OUT_OF_BOUNDS, build_error, build_panic

SAID = [
    (CallTooLarge, -32000, "out of gas"),
    (CallTooLarge, -32003, "out of gas: gas required exceeds: 50000000"),
    (CallTooLarge, -32003, "out of gas: gas exhausted during memory expansion: 50000000"),
    (CallTooLarge, -32603, "EVM error OutOfGas"),
    (CallTooLarge, -32603, "EVM error MemoryOOG"),
    (CallTooLarge, -32000, "execution aborted (timeout = 5s)"),
    (CallTooLarge, -32000, "query timed out"),
    (CallTooLarge, -32008, "Response is too big"),
    (CallTooLarge, -32602, "Response size exceeded"),
    (CallTooLarge, -32000, "context deadline exceeded"),
    (BlockGone, -32000, "header not found"),
    (BlockGone, -32000, "header for hash not found"),
    (BlockGone, -32000, "hash is not currently canonical"),
    (BlockGone, -32000, "Unknown block"),
    (BlockGone, -32603, "BlockNotFound"),
    (BlockGone, -32001, "Resource not found"),
    (BlockGone, -32000, "missing trie node 1234 (path ) state 0x12 is not available"),
    (CallReverted, 3, "execution reverted"),
    (CallReverted, 3, "execution reverted: out of gas money"),
    (CallReverted, -32000, "VM Exception while processing transaction: revert"),
    (CallReverted, -32000, "invalid opcode: INVALID"),
    (NodeThrottled, -32005, "rate limit exceeded"),
    (NodeThrottled, 429, "Too Many Requests"),
    (NodeThrottled, -32005, "limit"),
    (NodeThrottled, -32000, "daily request count exceeded, request rate limited"),
    (ChainUnavailable, -32601, "the method eth_call does not exist/is not available"),
    (ChainUnavailable, -32601, "Method eth_getBlockByNumber not found"),
    (ChainUnavailable, -32600, "batch too large by policy"),
]


@pytest.mark.parametrize(("kind", "code", "message"), SAID[:-1], ids=[message for _, _, message in SAID[:-1]])
def test_error_is_taken_for_what_it_means(kind, code, message):
    assert type(build_failure({"code": code, "message": message})) is kind


@pytest.mark.parametrize("data", [b"", build_panic(OUT_OF_BOUNDS)])
@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: {"data": text}], ids=["plain", "wrapped"])
def test_revert_keeps_its_data(data, wrap):
    failure = build_failure({"code": 3, "message": "execution reverted", "data": wrap("0x" + data.hex())})

    assert isinstance(failure, CallReverted)
    assert failure.data == data


@pytest.mark.parametrize("data", [None, 5, "zz", "0xzz", {"data": 7}])
def test_revert_does_without_data_when_there_is_none_to_read(data):
    failure = build_failure({"code": 3, "message": "execution reverted", "data": data})

    assert isinstance(failure, CallReverted)
    assert failure.data == b""


def test_revert_is_described_by_its_reason():
    assert describe_revert(build_error("!position")) == ": !position"
    assert describe_revert(build_panic(0x32)) == ": panic 0x32"
    assert describe_revert(b"\x01\x02\x03\x04") == ""


@pytest.mark.parametrize("length", range(101))
def test_revert_is_described_when_its_reason_is_truncated(length):
    assert describe_revert(build_error("a reason of some length that goes on")[:length]).count("\n") == 0


def test_foreign_text_becomes_one_bounded_line():
    assert build_line("a\n\tb\x1b[31m  c\x00") == "a b [31m c"
    assert len(build_line("x" * 1000)) <= 160


@pytest.mark.parametrize("error", [{}, {"code": None}, {"message": None, "code": "x"}, {"message": ["a"]}])
def test_error_is_a_failure_when_it_is_no_proper_error_object(error):
    assert isinstance(build_failure(error), ChainUnavailable)


@pytest.mark.parametrize("code", [[], {}, None, True, "x", 1e400, 10**40, -(10**4000)], ids=range(8))
def test_error_is_told_whatever_its_code_is(code):
    told = str(build_failure({"code": code, "message": "no such thing"}))

    assert told.startswith("refused: no such thing (code ")
    assert len(told) < 60


@pytest.mark.parametrize("message", [None, 7, [], {"message": "out of gas"}, ["out of gas"]])
def test_error_is_told_when_its_message_is_no_text(message):
    assert str(build_failure({"code": -1, "message": message})) == "refused: no message (code -1)"


@pytest.mark.parametrize("word", ["exceeds ", "block ", "state ", "header hash ", "resource "])
def test_long_message_is_understood_at_once(word):
    with hurried():
        failure = build_failure({"code": -32000, "message": word * 1_000_000})

    assert len(str(failure)) < 2 * TEXT_LENGTH_MAX
