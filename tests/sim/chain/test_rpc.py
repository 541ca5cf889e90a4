"""Every fault of an endpoint, as a client sees it over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import pytest

from dehedge.sim.chain import ChainState, InProcessChain, SimRpc
from dehedge.sim.chain.faults import (
    EMPTY_BODY,
    GATEWAY_TIMEOUT,
    TOO_LARGE,
    UNKNOWN_BLOCK,
    Damage,
    PageLimit,
    build_html_page,
    build_rate_limited,
    build_server_error,
)

Ask = Callable[..., Awaitable[Any]]
CHAIN_ID_REQUEST = {"jsonrpc": "2.0", "id": 7, "method": "eth_chainId", "params": []}
HEALTHY = {"jsonrpc": "2.0", "id": 7, "result": "0x2105"}


@pytest.fixture
async def rpc() -> AsyncIterator[SimRpc]:
    rpc = SimRpc(ChainState())
    await rpc.start()
    yield rpc
    await rpc.stop()


async def test_rate_limit_says_when_to_come_back(rpc: SimRpc, session: aiohttp.ClientSession, ask: Ask) -> None:
    rpc.faults.inject(build_rate_limited(3))
    async with session.post(rpc.url, json=CHAIN_ID_REQUEST) as response:
        seen = response.status, response.headers["Retry-After"]

    assert seen == (429, "3")
    assert await ask(rpc.url, "eth_chainId") == HEALTHY


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "start"),
    [
        (build_rate_limited(), 429, "application/json", '{"jsonrpc"'),
        (build_server_error(500), 500, "text/plain", "upstream"),
        (build_server_error(), 503, "text/plain", "upstream"),
        (build_html_page(), 200, "text/html", "<!DOCTYPE html>"),
        (EMPTY_BODY, 200, "application/json", ""),
        (GATEWAY_TIMEOUT, 504, "text/html", "<html>"),
    ],
)
async def test_reply_is_sent_instead_of_the_answer(
    rpc: SimRpc, session: aiohttp.ClientSession, fault: Any, status: int, content_type: str, start: str
) -> None:
    rpc.faults.inject(fault)
    async with session.post(rpc.url, json=CHAIN_ID_REQUEST) as response:
        body = await response.text()

    assert (response.status, response.content_type, body[: len(start)]) == (status, content_type, start)
    assert "Retry-After" not in response.headers


async def test_truncated_answer_is_half_a_document(rpc: SimRpc, session: aiohttp.ClientSession) -> None:
    rpc.faults.inject(Damage.TRUNCATED)
    async with session.post(rpc.url, json=CHAIN_ID_REQUEST) as response:
        body = await response.text()

    assert response.status == 200
    assert (body[:10], body[-1:] == "}") == ('{"jsonrpc"', False)


async def test_cut_answer_ends_in_the_middle_of_the_body(rpc: SimRpc, session: aiohttp.ClientSession) -> None:
    rpc.faults.inject(Damage.CUT)
    async with session.post(rpc.url, json=CHAIN_ID_REQUEST) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_reset_breaks_the_connection_before_any_byte(rpc: SimRpc, ask: Ask) -> None:
    rpc.faults.inject(Damage.RESET)

    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await ask(rpc.url, "eth_chainId")
    assert await ask(rpc.url, "eth_chainId") == HEALTHY


@pytest.mark.parametrize("identity", [7, "seven", None])
async def test_wrong_id_answers_another_request(rpc: SimRpc, session: aiohttp.ClientSession, identity: object) -> None:
    rpc.faults.inject(Damage.WRONG_ID)
    async with session.post(rpc.url, json={**CHAIN_ID_REQUEST, "id": identity}) as response:
        answer = await response.json()

    assert answer["id"] != identity
    assert answer["result"] == "0x2105"


async def test_wrong_id_spoils_every_answer_of_a_batch(rpc: SimRpc, session: aiohttp.ClientSession) -> None:
    rpc.faults.inject(Damage.WRONG_ID)
    async with session.post(rpc.url, json=[CHAIN_ID_REQUEST, {**CHAIN_ID_REQUEST, "id": 8}]) as response:
        answers = await response.json()

    assert not {7, 8} & {answer["id"] for answer in answers}


async def test_hang_sends_nothing_until_the_endpoint_stops(rpc: SimRpc, ask: Ask) -> None:
    rpc.faults.inject(Damage.HANG, method="eth_chainId")
    arrived = asyncio.Event()

    async def note(methods: Sequence[str]) -> None:
        if "eth_chainId" in methods:
            arrived.set()

    rpc.faults.latency = note
    hung = asyncio.create_task(ask(rpc.url, "eth_chainId"))
    await asyncio.wait_for(arrived.wait(), 5)
    other = await ask(rpc.url, "net_version")
    was_hanging = not hung.done()
    await rpc.stop()

    assert (other["result"], was_hanging) == ("8453", True)
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await hung


async def test_error_answers_every_call_of_a_batch(rpc: SimRpc, session: aiohttp.ClientSession) -> None:
    rpc.faults.inject(UNKNOWN_BLOCK)
    async with session.post(rpc.url, json=[CHAIN_ID_REQUEST, {**CHAIN_ID_REQUEST, "id": 8}]) as response:
        answers = await response.json()

    assert [(answer["id"], answer["error"]) for answer in answers] == [
        (identity, {"code": -32000, "message": "header not found"}) for identity in (7, 8)
    ]


async def test_fault_waits_for_its_method_and_counts_down(rpc: SimRpc, ask: Ask) -> None:
    rpc.faults.inject(UNKNOWN_BLOCK, times=2, method="eth_blockNumber")
    other = await ask(rpc.url, "eth_chainId")
    answers = [await ask(rpc.url, "eth_blockNumber") for _ in range(3)]

    assert other == HEALTHY
    assert ["error" in answer for answer in answers] == [True, True, False]


async def test_faults_follow_each_other_and_end_when_cleared(rpc: SimRpc, ask: Ask) -> None:
    rpc.faults.inject(Damage.WRONG_ID)
    rpc.faults.inject(UNKNOWN_BLOCK, times=None)
    first, *others = [await ask(rpc.url, "eth_chainId") for _ in range(4)]
    rpc.faults.chain_id = 1
    rpc.faults.clear()

    assert first["id"] != 7
    assert all("error" in answer for answer in others)
    assert await ask(rpc.url, "eth_chainId") == HEALTHY


async def test_endpoint_claims_another_chain(rpc: SimRpc, ask: Ask) -> None:
    rpc.faults.chain_id = 1

    assert (await ask(rpc.url, "eth_chainId"))["result"] == "0x1"
    assert (await ask(rpc.url, "net_version"))["result"] == "1"


async def test_request_is_refused_when_its_body_is_too_large(rpc: SimRpc, session: aiohttp.ClientSession) -> None:
    rpc.faults.request_max_bytes = 200
    async with session.post(rpc.url, json={**CHAIN_ID_REQUEST, "params": ["x" * 200]}) as large:
        pass
    async with session.post(rpc.url, json=CHAIN_ID_REQUEST) as small:
        pass

    assert (large.status, small.status) == (413, 200)


async def test_page_is_refused_by_http_when_the_limit_says_so(rpc: SimRpc, session: aiohttp.ClientSession) -> None:
    rpc.faults.page_limit = PageLimit(0, TOO_LARGE)
    data = "0x7149d6b0" + f"{1:064x}" + f"{0:064x}"
    call = {"to": "0x" + "de" * 19 + "01", "data": data}
    async with session.post(rpc.url, json={**CHAIN_ID_REQUEST, "method": "eth_call", "params": [call]}) as empty:
        pass
    rpc.faults.page_limit = PageLimit(-1, TOO_LARGE)
    async with session.post(rpc.url, json={**CHAIN_ID_REQUEST, "method": "eth_call", "params": [call]}) as refused:
        pass

    assert (empty.status, refused.status) == (200, 413)


@pytest.mark.parametrize(("size", "is_refused"), [(1, False), (2, False), (3, True)])
async def test_batch_is_refused_when_it_is_too_large(
    rpc: SimRpc, session: aiohttp.ClientSession, size: int, is_refused: bool
) -> None:
    rpc.faults.batch_max = 2
    async with session.post(rpc.url, json=[CHAIN_ID_REQUEST] * size) as response:
        answer = await response.json()

    assert isinstance(answer, dict) == is_refused


@pytest.mark.parametrize(("body", "code"), [("{", -32700), ("[]", -32600), ("5", -32600), ('{"method": 5}', -32600)])
async def test_bad_request_gets_a_json_rpc_error(
    rpc: SimRpc, session: aiohttp.ClientSession, body: str, code: int
) -> None:
    async with session.post(rpc.url, data=body) as response:
        answer = await response.json()

    assert (answer["id"], answer["error"]["code"]) == (None, code)


async def test_latency_holds_the_answer_until_it_is_over(rpc: SimRpc, ask: Ask) -> None:
    asked, released = asyncio.Queue[Sequence[str]](), asyncio.Event()

    async def hold(methods: Sequence[str]) -> None:
        asked.put_nowait(methods)
        await released.wait()

    rpc.faults.latency = hold
    task = asyncio.create_task(ask(rpc.url, "eth_chainId"))
    methods = await asyncio.wait_for(asked.get(), 5)
    was_waiting = not task.done()
    released.set()

    assert (methods, was_waiting, await task) == (["eth_chainId"], True, HEALTHY)


async def test_endpoint_refuses_connections_while_down_and_returns_on_its_port(rpc: SimRpc, ask: Ask) -> None:
    url = rpc.url
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await rpc.down()
    remainder = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await rpc.up()

    assert (remainder, rpc.url) == (b"", url)
    assert await ask(url, "eth_chainId") == HEALTHY


async def test_lagging_endpoint_does_not_know_the_newest_blocks(rpc: SimRpc, ask: Ask) -> None:
    state = ChainState()
    lagging = SimRpc(state)
    await lagging.start()
    lagging.faults.lag_blocks = 2
    state.mine(5)
    head = state.head
    try:
        number = await ask(lagging.url, "eth_blockNumber")
        block = await ask(lagging.url, "eth_getBlockByNumber", hex(head.number), False)
        by_hash = await ask(lagging.url, "eth_getBlockByHash", head.hash, False)
        call = await ask(lagging.url, "eth_call", {"to": "0x" + "11" * 20}, hex(head.number))
        pinned = await ask(lagging.url, "eth_call", {"to": "0x" + "11" * 20}, {"blockHash": head.hash})
    finally:
        await lagging.stop()

    assert int(number["result"], 16) == head.number - 2
    assert (block["result"], by_hash["result"]) == (None, None)
    assert call["error"]["message"] == "header not found"
    assert pinned["error"]["message"] == "header for hash not found"


async def test_stuck_endpoint_stays_while_another_goes_on(rpc: SimRpc, ask: Ask) -> None:
    state = ChainState()
    stuck, lively = SimRpc(state), SimRpc(state)
    await stuck.start()
    await lively.start()
    try:
        stuck.freeze_head()
        state.mine(3)
        heads = [int((await ask(one.url, "eth_blockNumber"))["result"], 16) for one in (stuck, lively)]
        stuck.faults.clear()
        healed = int((await ask(stuck.url, "eth_blockNumber"))["result"], 16)
    finally:
        await stuck.stop()
        await lively.stop()

    assert (heads, healed) == ([0, 3], 3)


async def test_log_tells_requests_connections_and_faults_apart(chain: InProcessChain, ask: Ask) -> None:
    await ask(chain.url, "eth_chainId")
    chain.faults.inject(build_server_error())
    with pytest.raises(aiohttp.ContentTypeError):
        await ask(chain.url, "eth_blockNumber")

    assert [(request.method, request.http_index) for request in chain.rpc.requests] == [
        ("eth_chainId", 1),
        ("eth_blockNumber", 2),
    ]
    assert len({request.peer_port for request in chain.rpc.requests}) == 1
    assert chain.rpc.http_count == 2
