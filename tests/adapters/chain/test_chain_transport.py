"""What of a reply is worth making objects of."""

from __future__ import annotations

import json

import pytest

from dehedge.adapters.chain.failures import NodeFailed
from dehedge.adapters.chain.transport import MARKS_MAX, _parse

MANY = b"[" + b"0," * (MARKS_MAX + 1) + b"0]"
LONG = b'"0x' + b"00" * 1_000 + b'"'
DATA = bytes(range(256)) * 1_000
LARGE = b'"0x%b"' % DATA.hex().encode()


@pytest.mark.parametrize(
    "payload",
    [
        b'{"result":%b}' % MANY,
        b'{"id":%b,"result":%b}' % (MANY, LONG),
        b'{"result":%b,"id":%b}' % (LONG, MANY),
        b'{"result":%b,"more":%b,"id":%b}' % (LONG, LONG, MANY),
        b'{"result":"%b","id":"0x' % MANY,
        b'"0x' + MANY,
    ],
    ids=["alone", "before the data", "behind the data", "behind more data", "in an open end", "in an open string"],
)
def test_transport_refuses_a_reply_of_too_many_values_wherever_they_stand(payload):
    with pytest.raises(NodeFailed, match="not a JSON-RPC reply"):
        _parse(payload)


@pytest.mark.parametrize("payload", [bytes, bytearray])
def test_transport_gives_a_result_of_much_data_as_bytes(payload):
    assert _parse(payload(b'{"result":%b,"id":1}' % LARGE)) == {"result": DATA, "id": 1}


@pytest.mark.parametrize(
    "reply",
    [
        {"result": "0x" + "00" * 1_000, "id": 1},
        {"result": "0x" + DATA.hex() + "0", "id": 1},
        {"result": "0x" + "," * (MARKS_MAX + 1)},
        {"result": ["0x" + DATA.hex()]},
        {"error": {"data": "0x" + DATA.hex()}, "result": None},
        {"error": {"message": 'said "0x' + DATA.hex() + '" and more'}},
        {"error": {"message": 'said "0x' + DATA.hex()}},
        ["0x" + DATA.hex()],
        "0x" + DATA.hex(),
        {"result": "0x", "more": "0x" + DATA.hex()},
    ],
)
def test_transport_reads_every_other_reply_as_json_does(reply):
    assert _parse(json.dumps(reply).encode()) == reply


@pytest.mark.parametrize("payload", [b'{"result":%b', b'{"result":x%b}', b'{"a\\"%b":1', b"%b 1"])
def test_transport_refuses_what_is_no_json_around_much_data(payload):
    with pytest.raises(NodeFailed, match="not JSON"):
        _parse(payload % LARGE)
