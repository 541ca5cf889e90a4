"""What an endpoint answers, over real HTTP and through real web3."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import eth_abi
import pytest
from web3 import AsyncHTTPProvider, AsyncWeb3

from dehedge.sim.chain import InProcessChain, SimMarket, SimPosition
from dehedge.sim.chain.artifacts import CONTRACTS_FOLDER, read_artifacts
from dehedge.sim.chain.faults import ANVIL_OUT_OF_GAS, GETH_OUT_OF_GAS, PageLimit
from dehedge.sim.chain.model import CONTRACT_ADDRESSES, DATA_REGISTRY, MULTICALL3, USDC, ZERO_ADDRESS
from dehedge.sim.chain.reverts import build_error
from tests.sim.chain.calls import a_call, an_aggregate

Ask = Callable[..., Awaitable[Any]]
Builder = Callable[..., SimPosition]


@pytest.fixture
async def web3(chain: InProcessChain) -> AsyncIterator[AsyncWeb3[Any]]:
    provider = AsyncHTTPProvider(chain.url, exception_retry_configuration=None)
    yield AsyncWeb3(provider)
    await provider.disconnect()


def a_web3_contract(web3: AsyncWeb3[Any], name: str) -> Any:
    document = json.loads((CONTRACTS_FOLDER / "artifacts.json").read_text())
    address = AsyncWeb3.to_checksum_address(CONTRACT_ADDRESSES[name])
    return web3.eth.contract(address=address, abi=document["contracts"][name]["abi"])


async def test_web3_reads_every_contract(chain: InProcessChain, web3: AsyncWeb3[Any], a_position: Builder) -> None:
    await chain.put(a_position(1), a_position(2, is_long=False, funding_tracer=-5, market="ÉTH-USD"))
    await chain.set_vault(10**12)
    await chain.set_shield(10**9)
    await chain.set_tracer("BTC-USD", -(10**18))
    await chain.set_market(SimMarket(market="BTC-USD", name="Bitcoin", pyth_feed="e6" * 32, funding_factor=2500))
    positions = await a_web3_contract(web3, "Positions").functions.getPositions(10, 0).call()
    tracers = a_web3_contract(web3, "FundingRate").functions.getFundingTracers([USDC], ["BTC-USD"])
    markets = await a_web3_contract(web3, "TradingMarket").functions.getMultipleMarkets(["BTC-USD"]).call()

    assert [(p[2], p[3], p[4], p[6]) for p in positions] == [
        ("BTC-USD", True, 1_000_000_001, 0),
        ("ÉTH-USD", False, 1_000_000_002, -5),
    ]
    assert await a_web3_contract(web3, "VaultUtils").functions.getVaultAvailable(USDC).call() == 10**12
    assert await a_web3_contract(web3, "Vault").functions.getShieldBalance(USDC).call() == 10**9
    assert await tracers.call() == [-(10**18)]
    assert await a_web3_contract(web3, "TradingMarket").functions.getMarketList().call() == ["BTC-USD"]
    assert (markets[0][0], markets[0][7], markets[0][10].hex()) == ("Bitcoin", 2500, "e6" * 32)


async def test_web3_reads_blocks_and_the_chain_id(chain: InProcessChain, web3: AsyncWeb3[Any]) -> None:
    block = await web3.eth.get_block("latest")
    same = await web3.eth.get_block(block["hash"])

    assert await web3.eth.chain_id == 8453
    assert (same["number"], same["timestamp"]) == (block["number"], block["timestamp"])


@pytest.mark.parametrize(
    ("method", "params", "result"),
    [
        ("eth_chainId", [], "0x2105"),
        ("net_version", [], "8453"),
        ("web3_clientVersion", [], "dehedge-sim/v1"),
        ("eth_getLogs", [{"fromBlock": "0x0"}], []),
        ("eth_getBlockByNumber", ["0xffff", False], None),
        ("eth_getBlockByHash", ["0x" + "ab" * 32, False], None),
        ("eth_getCode", [ZERO_ADDRESS, "latest"], "0x"),
        ("eth_getCode", [DATA_REGISTRY.lower(), "latest"], read_artifacts()["DataRegistry"].code),
    ],
)
async def test_method_answers(chain: InProcessChain, ask: Ask, method: str, params: list[Any], result: Any) -> None:
    assert await ask(chain.url, method, *params) == {"jsonrpc": "2.0", "id": 7, "result": result}


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_sendRawTransaction", ["0x"], -32601),
        ("eth_call", [], -32602),
        ("eth_call", [{"to": DATA_REGISTRY, "data": "0x1"}, "latest"], -32602),
        ("eth_call", [{"to": DATA_REGISTRY, "data": "0x"}, "newest"], -32602),
        ("eth_call", [{"to": DATA_REGISTRY, "data": "0x"}, "0xffff"], -32000),
        ("eth_call", [{"to": DATA_REGISTRY, "data": "0x"}, {"blockHash": "0x" + "ab" * 32}], -32000),
    ],
)
async def test_method_refuses(chain: InProcessChain, ask: Ask, method: str, params: list[Any], code: int) -> None:
    answer = await ask(chain.url, method, *params)

    assert (answer["error"]["code"], "result" in answer) == (code, False)


async def test_batch_is_answered_in_order_with_an_error_among_results(
    chain: InProcessChain, session: aiohttp.ClientSession
) -> None:
    batch = [
        {"jsonrpc": "2.0", "id": "a", "method": "eth_chainId", "params": []},
        {"jsonrpc": "2.0", "id": 2, "method": "eth_nothing", "params": []},
        5,
    ]
    async with session.post(chain.url, json=batch) as response:
        answers = await response.json()

    assert [answer["id"] for answer in answers] == ["a", 2, None]
    assert answers[0]["result"] == "0x2105"
    assert [answer["error"]["code"] for answer in answers[1:]] == [-32601, -32600]
    assert len({request.http_index for request in chain.rpc.requests}) == 1


async def test_old_block_is_read_by_number_tag_and_hash(chain: InProcessChain, ask: Ask, a_position: Builder) -> None:
    await chain.put(a_position(1))
    old = chain.state.head
    await chain.put(a_position(2))
    call = a_call("Positions", "getPositionCount")
    pinned = {"blockHash": old.hash, "requireCanonical": True}

    counts = [
        int((await ask(chain.url, "eth_call", call, reference))["result"], 16)
        for reference in (hex(old.number), pinned, {"blockNumber": hex(old.number)}, "latest", "pending", "earliest")
    ]

    assert counts == [1, 1, 1, 2, 2, 0]


async def test_safe_and_finalized_lie_behind_the_head(chain: InProcessChain, ask: Ask) -> None:
    await chain.mine(40)
    numbers = [
        int((await ask(chain.url, "eth_getBlockByNumber", tag, False))["result"]["number"], 16)
        for tag in ("latest", "safe", "finalized")
    ]

    assert numbers[0] > numbers[1] > numbers[2] > 0


async def test_orphaned_hash_is_refused_when_canonical_is_required(
    chain: InProcessChain, ask: Ask, a_position: Builder
) -> None:
    await chain.put(a_position(1))
    orphan = chain.state.head
    await chain.reorg(1)
    call = a_call("Positions", "getPositionCount")

    canonical = await ask(chain.url, "eth_call", call, {"blockHash": orphan.hash, "requireCanonical": True})
    lenient = await ask(chain.url, "eth_call", call, {"blockHash": orphan.hash})
    head = await ask(chain.url, "eth_call", call, "latest")

    assert canonical["error"]["message"] == "hash is not currently canonical"
    assert (int(lenient["result"], 16), int(head["result"], 16)) == (1, 0)


async def test_head_is_a_new_block_when_a_second_has_passed(ask: Ask) -> None:
    now = 1_700_000_000.0
    chain = InProcessChain(clock=lambda: now)
    await chain.start()
    try:
        first = await ask(chain.url, "eth_getBlockByNumber", "latest", False)
        now += 1
        second = await ask(chain.url, "eth_getBlockByNumber", "latest", False)
    finally:
        await chain.stop()

    assert int(second["result"]["timestamp"], 16) - int(first["result"]["timestamp"], 16) == 1
    assert second["result"]["parentHash"] == first["result"]["hash"]


async def test_2500_and_10000_positions_are_served_whole(chain: InProcessChain, ask: Ask, a_position: Builder) -> None:
    await chain.put(*(a_position(trader) for trader in range(10_000)))
    for count in (2_500, 10_000):
        answer = await ask(chain.url, "eth_call", a_call("Positions", "getPositions", count, 0), "latest")

        assert len(answer["result"]) == 2 + 2 * (64 + count * 384)


async def test_page_limit_counts_every_page_of_one_call(chain: InProcessChain, ask: Ask, a_position: Builder) -> None:
    await chain.put(*(a_position(trader) for trader in range(10)))
    chain.faults.page_limit = PageLimit(6, ANVIL_OUT_OF_GAS)
    first, second = a_call("Positions", "getPositions", 4, 0), a_call("Positions", "getPositions", 4, 4)

    alone = await ask(chain.url, "eth_call", first, "latest")
    together = await ask(chain.url, "eth_call", an_aggregate(first, second), "latest")

    assert "result" in alone
    assert together["error"] == {"code": -32603, "message": "EVM error OutOfGas"}


async def test_page_limit_fails_only_the_expensive_calls_when_it_acts_inside(
    chain: InProcessChain, ask: Ask, a_position: Builder
) -> None:
    await chain.put(*(a_position(trader) for trader in range(10)))
    chain.faults.page_limit = PageLimit(6, GETH_OUT_OF_GAS, inside=True)
    page, count = a_call("Positions", "getPositions", 4, 0), a_call("Positions", "getPositionCount")

    answer = await ask(chain.url, "eth_call", an_aggregate(page, page, count), "latest")
    strict = await ask(chain.url, "eth_call", an_aggregate(page, page, allow_failure=False), "latest")
    direct = await ask(chain.url, "eth_call", a_call("Positions", "getPositions", 7, 0), "latest")

    [results] = eth_abi.decode(["(bool,bytes)[]"], bytes.fromhex(answer["result"][2:]))
    assert [(success, len(data)) for success, data in results] == [(True, 64 + 4 * 384), (False, 0), (True, 32)]
    assert strict["error"]["data"] == "0x" + build_error("Multicall3: call failed").hex()
    assert direct["error"] == {"code": -32000, "message": "out of gas"}


async def test_function_reverts_with_its_reason_when_told_to(chain: InProcessChain, ask: Ask) -> None:
    chain.faults.reverting["getShieldBalance"] = build_error("paused")
    call = a_call("Vault", "getShieldBalance", USDC)

    answer = await ask(chain.url, "eth_call", call, "latest")
    batch = await ask(chain.url, "eth_call", an_aggregate(call), "latest")

    data = build_error("paused")
    assert answer["error"] == {"code": 3, "message": "execution reverted: paused", "data": "0x" + data.hex()}
    assert eth_abi.decode(["(bool,bytes)[]"], bytes.fromhex(batch["result"][2:])) == (((False, data),),)


async def test_registry_answers_zero_when_this_endpoint_is_told_to(chain: InProcessChain, ask: Ask) -> None:
    chain.faults.unregistered.add("Vault")
    answers = [
        await ask(chain.url, "eth_call", a_call("DataRegistry", "getAddress", key), "latest")
        for key in ("Vault", "Positions", "Nothing")
    ]

    assert [int(answer["result"], 16) for answer in answers] == [0, int(CONTRACT_ADDRESSES["Positions"], 16), 0]


async def test_multicall_has_no_code_when_it_is_absent(chain: InProcessChain, ask: Ask) -> None:
    chain.faults.has_multicall = False

    code = await ask(chain.url, "eth_getCode", MULTICALL3, "latest")
    answer = await ask(chain.url, "eth_call", an_aggregate(), "latest")

    assert (code["result"], answer["result"]) == ("0x", "0x")


async def test_call_is_refused_when_it_asks_for_more_gas_than_the_node_allows(chain: InProcessChain, ask: Ask) -> None:
    chain.faults.call_gas_max = 16_777_216
    call = a_call("Positions", "getPositionCount")

    refused = await ask(chain.url, "eth_call", {**call, "gas": hex(50_000_000)}, "latest")
    allowed = await ask(chain.url, "eth_call", {**call, "gas": hex(16_777_216)}, "latest")

    assert "gas limit too high" in refused["error"]["message"]
    assert "result" in allowed


async def test_log_names_the_functions_within_a_multicall(chain: InProcessChain, ask: Ask) -> None:
    calls = (a_call("Positions", "getPositionCount"), a_call("Positions", "getPositions", 500, 0))
    await ask(chain.url, "eth_call", an_aggregate(*calls), "latest")

    [request] = chain.rpc.get_requests("eth_call")
    assert [call.function for call in request.calls] == ["aggregate3", "getPositionCount", "getPositions"]
    assert [call.page for call in chain.rpc.get_calls("getPositions")] == [(500, 0)]


async def test_multicall_within_itself_ends_when_it_is_too_deep(chain: InProcessChain, ask: Ask) -> None:
    call = a_call("Multicall3", "getBlockNumber")
    for _ in range(80):
        call = an_aggregate(call, allow_failure=False)

    answer = await ask(chain.url, "eth_call", call, "latest")

    assert answer["error"]["data"] == "0x" + build_error("Multicall3: call failed").hex()
