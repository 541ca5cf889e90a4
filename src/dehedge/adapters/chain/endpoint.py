"""One RPC endpoint: AsyncWeb3 without what it adds by itself, and every failure as a ``ChainUnavailable``.

The only module that imports web3. Checks the chain id before anything is believed and the id of every reply (web3
accepts a wrong one), and reads at a block by its hash (EIP-1898). Several calls go through Multicall3 where it is
deployed and as a JSON-RPC batch where not. What may pass at once is repeated, a bounded number of times. Called by
``source``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint, RPCRequest, RPCResponse

from dehedge.adapters.chain.abi import Malformed
from dehedge.adapters.chain.codec import MULTICALL3, CallResult, decode_aggregate3, encode_aggregate3
from dehedge.adapters.chain.failures import BlockGone, CallReverted, NodeFailed, NodeHung, NodeThrottled
from dehedge.adapters.chain.node import Call, Head
from dehedge.adapters.chain.paging import PageMemory
from dehedge.adapters.chain.transport import Transport
from dehedge.errors import ChainUnavailable
from dehedge.ports import Clock

T = TypeVar("T")

ATTEMPTS_MAX = 3
RETRYING_MAX_S = 2.0
RETRY_WAIT_MAX_S = 0.4

# Importing web3 raises the limit to 100,000 (through py_ecc), where nested JSON of any source would overflow the C
# stack and end the process instead of raising RecursionError.
sys.setrecursionlimit(1_000)

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,16}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")


class StrictProvider(AsyncHTTPProvider):
    """web3's HTTP provider over our transport.

    web3's own session handling opens a connection per request, retries what must not be retried, logs the URL, and
    takes a process-wide thread lock on each request that a canceled one can leave locked for good.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport.host, exception_retry_configuration=None)
        self.global_ccip_read_enabled = False
        self._transport = transport

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        request = self.form_request(method, params)
        reply = await self._transport.post(self.encode_rpc_dict(request))
        return self._check_reply(request, reply)

    async def make_batch_request(self, batch_requests: list[tuple[RPCEndpoint, Any]]) -> list[RPCResponse]:
        """The replies in the order of the requests. An error of one call is in its reply, not raised."""
        requests = [self.form_request(method, params) for method, params in batch_requests]
        replies = await self._transport.post(self.encode_batch_request_dicts(requests))
        if isinstance(replies, dict) and "error" in replies:
            raise self._transport.build_failure(replies["error"])
        return _sort_replies(requests, replies)

    def _check_reply(self, request: RPCRequest, reply: Any) -> RPCResponse:
        if not isinstance(reply, dict):
            raise NodeFailed("answered with JSON that is not a JSON-RPC reply")
        error, identity = reply.get("error"), reply.get("id")
        # An error may come without an id, when the node could not read ours.
        if _read_id(identity) != str(request["id"]) and (error is None or identity is not None):
            raise NodeFailed("answered with the reply to another request")
        if error is not None:
            raise self._transport.build_failure(error)
        if reply.get("jsonrpc") != "2.0" or "result" not in reply:
            raise NodeFailed("answered with JSON that is not a JSON-RPC reply")
        return {"jsonrpc": "2.0", "id": request["id"], "result": reply["result"]}


class Endpoint:
    """A node that was asked who it is; implements ``node.Node``."""

    def __init__(self, url: str, *, chain_id: int, clock: Clock, timeout_s: float) -> None:
        self._transport = Transport(url, clock, timeout_s)
        self._web3 = AsyncWeb3(StrictProvider(self._transport), middleware=[])
        self._chain_id = chain_id
        self._is_open = False
        self._memories: dict[str, PageMemory] = {}
        self.host = self._transport.host
        self.has_multicall = False
        """Whether Multicall3 is deployed there. Known after ``open``."""

    def __repr__(self) -> str:
        return f"Endpoint({self.host})"

    async def open(self) -> None:
        """Once, and again after ``reset``: raises ``ChainUnavailable`` when it is a node of another chain."""
        if self._is_open:
            return
        chain_id = await self.fetch_chain_id()
        if chain_id != self._chain_id:
            raise ChainUnavailable(f"is on chain {chain_id}, not {self._chain_id}: check NETWORKS and CHAIN_ID")
        self.has_multicall = await self.fetch_has_code(MULTICALL3)
        self._is_open = True

    def reset(self) -> None:
        """After a failure another node may answer under the same URL."""
        self._is_open = False

    async def close(self) -> None:
        self._is_open = False
        await self._transport.close()

    async def fetch_chain_id(self) -> int:
        return _read_quantity(await self._request("eth_chainId", []))

    async def fetch_head(self) -> Head:
        block = await self._request("eth_getBlockByNumber", ["latest", False])
        if not isinstance(block, dict):
            raise NodeFailed("has no latest block")
        block_hash = block.get("hash")
        if not isinstance(block_hash, str) or not _HASH.fullmatch(block_hash):
            raise NodeFailed("answered with a block that has no hash")
        return Head(_read_quantity(block.get("number")), block_hash, _read_quantity(block.get("timestamp")))

    async def call(self, call: Call, head: Head) -> bytes:
        reply = await self._request("eth_call", _build_call_params(call, head))
        return _read_data(reply)

    async def call_many(self, calls: Sequence[Call], head: Head) -> list[CallResult]:
        if self.has_multicall:
            return await self._call_multicall(calls, head)
        try:
            return await _retry(self._call_batch, calls, head)
        except (BlockGone, NodeHung, NodeThrottled):
            raise
        except ChainUnavailable:
            # Some nodes refuse every batch, and each in its own way.
            return [await self._call_alone(call, head) for call in calls]

    async def fetch_has_code(self, address: str) -> bool:
        """Whether a contract is deployed there now."""
        return bool(_read_data(await self._request("eth_getCode", [address, "latest"])))

    def get_page_memory(self, positions: str) -> PageMemory:
        return self._memories.setdefault(positions, PageMemory())

    async def _call_multicall(self, calls: Sequence[Call], head: Head) -> list[CallResult]:
        reply = await self.call(Call(MULTICALL3, encode_aggregate3(calls)), head)
        try:
            results = decode_aggregate3(reply)
        except Malformed as problem:
            raise ChainUnavailable(f"gave an answer of Multicall3 that is none: {problem}") from None
        if len(results) != len(calls):
            raise ChainUnavailable(f"gave {len(results)} answers of Multicall3 to {len(calls)} calls")
        return [result if result.succeeded else CallResult(False, self._transport.hide(result.data)) for result in results]

    async def _call_batch(self, calls: Sequence[Call], head: Head) -> list[CallResult]:
        requests = [(RPCEndpoint("eth_call"), _build_call_params(call, head)) for call in calls]
        return [self._read_call_result(reply) for reply in await self._web3.provider.make_batch_request(requests)]

    def _read_call_result(self, reply: RPCResponse) -> CallResult:
        if reply.get("error") is None:
            return CallResult(True, _read_data(reply.get("result")))
        failure = self._transport.build_failure(reply["error"])
        if isinstance(failure, CallReverted):
            return CallResult(False, failure.data)
        raise failure

    async def _call_alone(self, call: Call, head: Head) -> CallResult:
        try:
            return CallResult(True, await self.call(call, head))
        except CallReverted as revert:
            return CallResult(False, revert.data)

    async def _request(self, method: str, params: list[Any]) -> Any:
        return await _retry(self._request_once, method, params)

    async def _request_once(self, method: str, params: list[Any]) -> Any:
        try:
            return await self._web3.manager.coro_request(RPCEndpoint(method), params)
        except Web3Exception:
            raise NodeFailed("answered with JSON that is not a JSON-RPC reply") from None


def _sort_replies(requests: Sequence[RPCRequest], replies: Any) -> list[RPCResponse]:
    """A batch may be answered in any order, but not with anything else."""
    is_batch = isinstance(replies, list) and all(isinstance(reply, dict) for reply in replies)
    by_id = {_read_id(reply.get("id")): reply for reply in replies} if is_batch else {}
    expected = [str(request["id"]) for request in requests]
    if by_id.keys() != set(expected) or len(replies) != len(expected):
        raise NodeFailed("answered a batch with replies to something else")
    return [by_id[identity] for identity in expected]


def _read_id(identity: object) -> str:
    """Some nodes give a number back as text; anything else is no id."""
    return str(identity) if isinstance(identity, int | str) else ""


async def _retry(fetch: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """A read again where the failure may pass at once: few times, soon, and not in step with others."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(NodeFailed),
        stop=stop_after_attempt(ATTEMPTS_MAX) | stop_after_delay(RETRYING_MAX_S),
        wait=wait_random_exponential(multiplier=0.05, max=RETRY_WAIT_MAX_S),
        reraise=True,
    )
    return await retrying(fetch, *arguments)


def _build_call_params(call: Call, head: Head) -> list[Any]:
    """Pinned to the block by its hash: after a reorganization the node refuses, it does not answer for another."""
    block = {"blockHash": head.hash, "requireCanonical": True}
    return [{"to": call.target, "data": "0x" + call.data.hex()}, block]


def _read_quantity(value: object) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise NodeFailed("answered with something that is not a number")
    return int(value, 16)


def _read_data(value: object) -> bytes:
    """``transport`` has made bytes of large ones beside the event loop."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value.startswith("0x"):
        raise NodeFailed("answered a call with something that is not data")
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        raise NodeFailed("answered a call with something that is not data") from None
