"""One endpoint over real HTTP: what it believes, what it refuses, and what it never says."""

from __future__ import annotations

import asyncio
import json
import traceback
from base64 import b64encode
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from tests.fuzz.hostile_server import HostileServer, build_http

from dehedge.adapters.chain import codec
from dehedge.adapters.chain.endpoint import ATTEMPTS_MAX, Endpoint
from dehedge.adapters.chain.failures import (
    RETRY_AFTER_MAX_S,
    BlockGone,
    CallReverted,
    CallTooLarge,
    NodeFailed,
    NodeHung,
    NodeThrottled,
)
from dehedge.adapters.chain.node import Call
from dehedge.errors import ChainUnavailable, ConfigError
from dehedge.sim.chain import CHAIN_ID, DATA_REGISTRY, MULTICALL3, USDC
from dehedge.sim.chain.faults import (
    EMPTY_BODY,
    GATEWAY_TIMEOUT,
    TOO_LARGE,
    UNKNOWN_BLOCK,
    Damage,
    ErrorReply,
    Reply,
    build_html_page,
    build_rate_limited,
    build_server_error,
)
from dehedge.sim.chain.model import CONTRACT_ADDRESSES
from dehedge.sim.chain.reverts import build_error

POSITIONS = CONTRACT_ADDRESSES["Positions"]
COUNT = Call(POSITIONS, codec.GET_POSITION_COUNT.selector)
SHIELD = Call(CONTRACT_ADDRESSES["Vault"], codec.encode_get_shield_balance(USDC))
NOWHERE = Call("0x" + "11" * 20, codec.GET_POSITION_COUNT.selector)
KEY = "AbC123secretKEY456"


@pytest.fixture
async def open_endpoint(clock):
    """``open_endpoint(url)`` is an endpoint that was not asked anything yet."""
    opened = []

    def build(url, *, timeout_s=2.0):
        opened.append(Endpoint(url, chain_id=CHAIN_ID, clock=clock, timeout_s=timeout_s))
        return opened[-1]

    yield build
    for endpoint in opened:
        await endpoint.close()


@pytest.fixture
def endpoint(rpc, open_endpoint):
    return open_endpoint(rpc.url)


async def test_endpoint_asks_who_the_node_is_once(endpoint, rpc):
    await endpoint.open()
    await endpoint.open()

    assert [request.method for request in rpc.requests] == ["eth_chainId", "eth_getCode"]
    assert endpoint.has_multicall


async def test_endpoint_asks_again_who_the_node_is_after_a_reset(endpoint, rpc):
    await endpoint.open()
    rpc.faults.chain_id = 1
    endpoint.reset()

    with pytest.raises(ChainUnavailable, match=r"is on chain 1, not 8453: check NETWORKS and CHAIN_ID"):
        await endpoint.open()


async def test_endpoint_reads_the_head(endpoint, state):
    head = await endpoint.fetch_head()

    assert head == (state.head.number, state.head.hash, state.head.timestamp)


async def test_endpoint_keeps_one_connection_and_sends_one_request_for_a_call(endpoint, rpc):
    head = await endpoint.fetch_head()
    for _ in range(5):
        await endpoint.call(COUNT, head)

    assert rpc.http_count == 6
    assert len({request.peer_port for request in rpc.requests}) == 1


async def test_endpoint_pins_a_call_to_the_hash_of_its_block(endpoint, rpc, state, a_position):
    head = await endpoint.fetch_head()
    state.put(a_position(4))
    state.mine()

    assert codec.decode_uint(await endpoint.call(COUNT, head)) == 3
    assert rpc.get_requests("eth_call")[0].params[1] == {"blockHash": head.hash, "requireCanonical": True}


async def test_endpoint_refuses_a_block_that_was_reorganized_away(endpoint, state):
    state.mine(3)
    head = await endpoint.fetch_head()
    state.reorg(2)

    with pytest.raises(BlockGone):
        await endpoint.call(COUNT, head)


@pytest.mark.parametrize("has_multicall", [True, False])
async def test_endpoint_sends_several_calls_in_one_request(has_multicall, endpoint, rpc):
    rpc.faults.has_multicall = has_multicall
    rpc.faults.reverting["getShieldBalance"] = build_error("no")
    await endpoint.open()
    head = await endpoint.fetch_head()
    before = rpc.http_count

    count, shield, nowhere = await endpoint.call_many([COUNT, SHIELD, NOWHERE], head)

    assert endpoint.has_multicall is has_multicall
    assert rpc.http_count == before + 1
    assert (count.succeeded, codec.decode_uint(count.data)) == (True, 3)
    assert shield == (False, build_error("no"))
    assert nowhere == (True, b"")
    assert [call.contract for call in rpc.get_calls("aggregate3")] == ["Multicall3"] * has_multicall


async def test_endpoint_fails_the_batch_when_one_reply_is_no_result(endpoint, rpc):
    rpc.faults.has_multicall = False
    await endpoint.open()
    head = await endpoint.fetch_head()
    rpc.faults.inject(UNKNOWN_BLOCK, method="eth_call")

    with pytest.raises(BlockGone):
        await endpoint.call_many([COUNT, SHIELD], head)


@pytest.mark.parametrize("damage", [Damage.WRONG_ID, Damage.TRUNCATED, Damage.CUT, Damage.RESET])
async def test_endpoint_repeats_a_batch_when_it_came_back_damaged(damage, endpoint, rpc):
    rpc.faults.has_multicall = False
    await endpoint.open()
    head = await endpoint.fetch_head()
    rpc.faults.inject(damage, times=2, method="eth_call")

    results = await endpoint.call_many([COUNT, SHIELD], head)

    assert [result.succeeded for result in results] == [True, True]


async def test_endpoint_calls_one_by_one_when_a_batch_is_refused(endpoint, rpc):
    rpc.faults.has_multicall = False
    rpc.faults.batch_max = 0
    rpc.faults.reverting["getShieldBalance"] = build_error("no")
    await endpoint.open()
    head = await endpoint.fetch_head()

    count, shield = await endpoint.call_many([COUNT, SHIELD], head)

    assert codec.decode_uint(count.data) == 3
    assert shield == (False, build_error("no"))


async def test_endpoint_is_closed_for_good(endpoint, rpc):
    arrived = asyncio.Event()

    async def hold(_methods):
        arrived.set()
        await asyncio.Event().wait()

    rpc.faults.latency = hold
    reading = asyncio.create_task(endpoint.fetch_head())
    await asyncio.wait_for(arrived.wait(), 5)
    await endpoint.close()

    with pytest.raises(ChainUnavailable):
        await reading
    with pytest.raises(ChainUnavailable, match="is closed"):
        await endpoint.fetch_head()


async def test_endpoint_refuses_a_multicall_that_answers_something_else(endpoint, rpc, state):
    await endpoint.open()
    head = await endpoint.fetch_head()
    rpc.faults.has_multicall = False

    with pytest.raises(ChainUnavailable, match="Multicall3"):
        await endpoint.call_many([COUNT], head)


TRANSIENT = {
    "server error": build_server_error(),
    "bad gateway": build_server_error(502),
    "html": build_html_page(),
    "empty": EMPTY_BODY,
    "wrong id": Damage.WRONG_ID,
    "truncated": Damage.TRUNCATED,
    "cut": Damage.CUT,
    "reset": Damage.RESET,
    "list": Reply(200, "[]"),
    "no result": Reply(200, '{"jsonrpc":"2.0","id":0}'),
    "no version": Reply(200, '{"id":0,"result":"0x1"}'),
    "deep": Reply(200, "[" * 100_000),
    "not utf8": Reply(200, '{"jsonrpc":"2.0","id":0,"result":"\\ud800"'),
    "no id but text": Reply(200, '{"jsonrpc":"2.0","id":"x","result":"0x1"}'),
    "many small things": Reply(200, f"[{'[],' * 300_000}0]"),
}


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
async def test_endpoint_repeats_a_read_when_the_failure_may_pass(fault, endpoint, rpc):
    rpc.faults.inject(fault, times=ATTEMPTS_MAX - 1)

    assert await endpoint.fetch_chain_id() == CHAIN_ID
    assert rpc.http_count == ATTEMPTS_MAX


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
async def test_endpoint_gives_up_after_a_few_attempts(fault, endpoint, rpc):
    rpc.faults.inject(fault, times=None)

    with pytest.raises(NodeFailed):
        await endpoint.fetch_chain_id()

    assert rpc.http_count == ATTEMPTS_MAX


LASTING = {
    "unauthorized": (Reply(401, "no"), ChainUnavailable, "refuses us .HTTP 401.: check the key in its URL"),
    "forbidden": (Reply(403, "no"), ChainUnavailable, "refuses us .HTTP 403.: check the key in its URL"),
    "not found": (Reply(404, "no"), ChainUnavailable, "HTTP 404: check its URL"),
    "redirect": (Reply(302, "", headers={"Location": "http://127.0.0.1:1/"}), ChainUnavailable, "HTTP 302"),
    "too large": (TOO_LARGE, CallTooLarge, "HTTP 413"),
    "gateway time-out": (GATEWAY_TIMEOUT, CallTooLarge, "HTTP 504"),
    "out of gas": (ErrorReply(-32000, "out of gas"), CallTooLarge, "out of gas"),
    "limit": (ErrorReply(-32005, "rate limit exceeded"), NodeThrottled, "rate limit exceeded"),
    "block": (UNKNOWN_BLOCK, BlockGone, "header not found"),
    "method": (ErrorReply(-32601, "the method does not exist"), ChainUnavailable, "does not exist .code -32601."),
    "revert": (ErrorReply(3, "execution reverted"), CallReverted, "reverted"),
    "error in a 400": (
        Reply(400, '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"out of gas"}}'),
        CallTooLarge,
        "out of gas",
    ),
    "error without id": (
        Reply(200, '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"bad request"}}'),
        ChainUnavailable,
        "bad request",
    ),
}


@pytest.mark.parametrize(("fault", "kind", "words"), LASTING.values(), ids=LASTING)
async def test_endpoint_does_not_repeat_a_read_when_it_would_not_help(fault, kind, words, endpoint, rpc):
    rpc.faults.inject(fault, times=None)

    with pytest.raises(kind, match=words) as caught:
        await endpoint.fetch_chain_id()

    assert rpc.http_count == 1
    assert "\n" not in str(caught.value)


async def test_endpoint_gives_up_a_hanging_node_after_its_time(rpc, open_endpoint):
    endpoint = open_endpoint(rpc.url, timeout_s=0.1)
    rpc.faults.inject(Damage.HANG, times=None)

    with pytest.raises(NodeHung, match=r"did not answer within 0\.1 s"):
        await endpoint.fetch_chain_id()

    assert rpc.http_count == 1


async def test_endpoint_reads_the_wait_that_a_node_asks_for(endpoint, rpc, clock):
    date = format_datetime(datetime.fromtimestamp(clock.now + 45, UTC), usegmt=True)
    waits = []
    for value in ["7", "0", date, "86400", "soon", "-5"]:
        rpc.faults.inject(Reply(429, "", headers={"Retry-After": value}))
        with pytest.raises(NodeThrottled) as caught:
            await endpoint.fetch_chain_id()
        waits.append(caught.value.retry_after_s)

    assert waits == [7.0, 0.0, 45.0, RETRY_AFTER_MAX_S, None, None]


async def test_endpoint_is_throttled_without_a_time_when_none_is_named(endpoint, rpc):
    rpc.faults.inject(build_rate_limited())

    with pytest.raises(NodeThrottled) as caught:
        await endpoint.fetch_chain_id()

    assert caught.value.retry_after_s is None
    assert rpc.http_count == 1


async def test_endpoint_takes_a_503_that_names_a_time_as_throttling(endpoint, rpc):
    rpc.faults.inject(Reply(503, "", headers={"Retry-After": "3"}))

    with pytest.raises(NodeThrottled):
        await endpoint.fetch_chain_id()


@pytest.mark.parametrize(
    "block",
    [
        None,
        "0x1",
        {},
        {"number": "0x1", "hash": None, "timestamp": "0x1"},
        {"number": "0x1", "hash": "0x12", "timestamp": "0x1"},
        {"number": None, "hash": "0x" + "11" * 32, "timestamp": "0x1"},
        {"number": 1, "hash": "0x" + "11" * 32, "timestamp": "0x1"},
        {"number": "0xzz", "hash": "0x" + "11" * 32, "timestamp": "0x1"},
        {"number": "0x1", "hash": "0x" + "11" * 32, "timestamp": "-1"},
    ],
)
async def test_endpoint_refuses_a_head_that_is_none(block, endpoint, rpc):
    rpc.faults.inject(Reply(200, json.dumps({"jsonrpc": "2.0", "id": 0, "result": block})))

    with pytest.raises(NodeFailed):
        await endpoint.fetch_head()


@pytest.mark.parametrize("data", [None, 5, "12", "0xzz", "0x123", {"a": 1}])
async def test_endpoint_refuses_data_that_is_none(data, endpoint, rpc):
    head = await endpoint.fetch_head()
    rpc.faults.inject(Reply(200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": data})))

    with pytest.raises(NodeFailed):
        await endpoint.call(COUNT, head)


async def test_endpoint_accepts_an_error_member_that_is_null(endpoint, rpc):
    rpc.faults.inject(Reply(200, '{"jsonrpc":"2.0","id":0,"error":null,"result":"0x2105"}'))

    assert await endpoint.fetch_chain_id() == CHAIN_ID


async def test_endpoint_says_so_when_nobody_listens(rpc, endpoint):
    await rpc.down()

    with pytest.raises(NodeFailed, match="cannot be reached"):
        await endpoint.fetch_chain_id()


async def test_endpoint_works_again_when_the_node_came_back(rpc, endpoint):
    await endpoint.open()
    await rpc.down()
    await rpc.up()

    assert (await endpoint.fetch_head()).number > 0


async def test_endpoint_remains_usable_when_a_request_was_canceled(rpc, endpoint):
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hold(_methods):
        arrived.set()
        await release.wait()

    rpc.faults.latency = hold
    reading = asyncio.create_task(endpoint.fetch_head())
    await asyncio.wait_for(arrived.wait(), 5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    release.set()

    assert (await endpoint.fetch_head()).number > 0


FAULTS_THAT_QUOTE = [
    Reply(401, f'{{"error":{{"code":-32000,"message":"invalid key {KEY}"}}}}'),
    Reply(400, f'{{"error":{{"code":-32000,"message":"invalid key {KEY}"}}}}'),
    ErrorReply(-32000, f"no project for /v3/{KEY}?token={KEY}"),
    Reply(200, f'{{"jsonrpc":"2.0","id":0,"error":{{"code":3,"message":"revert","data":"0x{build_error(KEY).hex()}"}}}}'),
    Reply(404, f"<p>/v3/{KEY}"),
    Reply(302, "", headers={"Location": f"/v3/{KEY}"}),
    Damage.CUT,
    Damage.RESET,
    Damage.HANG,
]


@pytest.mark.parametrize("fault", FAULTS_THAT_QUOTE)
@pytest.mark.parametrize("shape", ["http://{host}/v3/{key}", "http://{host}/?token={key}", "http://user:{key}@{host}/"])
async def test_endpoint_never_shows_the_key_in_its_url(shape, fault, rpc, open_endpoint, caplog):
    caplog.set_level("DEBUG")
    caplog.set_level("WARNING", logger="asyncio")
    host = rpc.url.removeprefix("http://")
    endpoint = open_endpoint(shape.format(host=host, key=KEY), timeout_s=0.2)
    rpc.faults.inject(fault, times=None)

    with pytest.raises(ChainUnavailable) as caught:
        await endpoint.fetch_chain_id()

    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in f"{shown}{endpoint!r}{endpoint.host}{caplog.text}"
    assert endpoint.host == rpc.url


@pytest.mark.parametrize(
    "url", ["", "ws://127.0.0.1:1", "127.0.0.1:8545", "http://", "http://h:99999/", "http://[::1/"]
)
def test_endpoint_refuses_a_url_that_is_none_without_showing_it(url, open_endpoint):
    with pytest.raises(ConfigError, match=r"^NETWORKS: an entry is not an http:// or https:// URL$"):
        open_endpoint(f"{url}/{KEY}")


def test_endpoint_names_scheme_host_and_port(open_endpoint):
    assert open_endpoint("https://base.example.org/v2/key").host == "https://base.example.org:443"
    assert open_endpoint("http://user:pass@[::1]:8545/x?y=z").host == "http://[::1]:8545"


def test_addresses_are_those_of_the_deployment():
    assert codec.MULTICALL3 == MULTICALL3
    assert DATA_REGISTRY.startswith("0x5Dc9")


async def test_endpoint_never_shows_the_key_in_a_revert_of_many_calls(rpc, open_endpoint):
    endpoint = open_endpoint(f"{rpc.url}/v3/{KEY}")
    await endpoint.open()
    rpc.faults.reverting["getPositionCount"] = build_error(f"ask {KEY}")

    head = await endpoint.fetch_head()
    (result,) = await endpoint.call_many([COUNT], head)

    assert not result.succeeded
    assert b"ask ***" in result.data
    assert KEY.encode() not in result.data


async def test_endpoint_never_shows_the_password_as_it_is_sent(rpc, open_endpoint):
    sent = b64encode(f"user:{KEY}".encode()).decode()
    endpoint = open_endpoint(rpc.url.replace("//", f"//user:{KEY}@"))
    rpc.faults.inject(ErrorReply(-32000, f"Basic {sent} is nobody"))

    with pytest.raises(ChainUnavailable, match=r"Basic \*\*\* is nobody"):
        await endpoint.fetch_chain_id()


async def test_endpoint_refuses_a_number_that_no_chain_has(endpoint, rpc):
    rpc.faults.inject(Reply(200, f'{{"jsonrpc":"2.0","id":0,"result":"0x{"f" * 17}"}}'), times=None)

    with pytest.raises(NodeFailed, match="something that is not a number"):
        await endpoint.fetch_chain_id()


async def test_endpoint_keeps_no_cookies(open_endpoint):
    heads = []

    def answer(request):
        heads.append(request.head)
        reply = json.dumps({"jsonrpc": "2.0", "id": json.loads(request.body)["id"], "result": "0x1"})
        return build_http(reply.encode(), "Set-Cookie: heavy=load; Path=/")

    async with HostileServer(answer) as server:
        # Cookies of addresses are not kept in any case.
        endpoint = open_endpoint(server.url.replace("127.0.0.1", "localhost"))
        await endpoint.fetch_chain_id()
        await endpoint.fetch_chain_id()

    assert len(heads) == 2
    assert "cookie" not in heads[1].lower()
