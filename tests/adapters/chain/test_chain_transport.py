"""What of a reply is worth making objects of."""

from __future__ import annotations

import pytest

from dehedge.adapters.chain.failures import NodeFailed
from dehedge.adapters.chain.transport import MARKS_MAX, _parse

MANY = b"[" + b"0," * (MARKS_MAX + 1) + b"0]"
LONG = b'"0x' + b"00" * 1_000 + b'"'


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


def test_transport_reads_a_reply_of_much_data_and_few_values():
    assert _parse(b'{"result":%b,"id":1}' % LONG) == {"result": LONG[1:-1].decode(), "id": 1}


def test_transport_takes_a_string_for_one_value_whatever_is_in_it():
    data = "0x" + "," * (MARKS_MAX + 1)

    assert _parse(b'{"result":"%b"}' % data.encode()) == {"result": data}
