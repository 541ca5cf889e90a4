"""One JSON-RPC endpoint's view of the chain: its methods, its idea of the head, its error texts.

Owns what is inside the JSON of an answer; HTTP belongs to ``SimRpc``, which calls this. Error codes and texts are those of
geth, where a fault does not say otherwise. Never changes the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dehedge.sim.chain.artifacts import read_artifacts
from dehedge.sim.chain.faults import GETH_OUT_OF_GAS, ErrorReply, Faults, Reply
from dehedge.sim.chain.machine import ContractCall, Machine, get_contract
from dehedge.sim.chain.model import CHAIN_ID
from dehedge.sim.chain.reverts import OutOfGas, Reverted
from dehedge.sim.chain.state import ChainState, SimBlock

SAFE_DEPTH_BLOCKS = 16
FINALIZED_DEPTH_BLOCKS = 32

JsonObject = dict[str, Any]


class RpcError(Exception):
    """The error member of an answer."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.body: JsonObject = {"code": code, "message": message} | ({} if data is None else {"data": data})


class HttpRefusal(Exception):
    """The whole request ends in this HTTP reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Node:
    """Answers single requests. ``calls`` records the contract functions of the last one."""

    def __init__(self, state: ChainState, faults: Faults) -> None:
        self.calls: Sequence[ContractCall] = ()
        self._state = state
        self._faults = faults
        self._methods: Mapping[str, Callable[[Sequence[Any]], object]] = {
            "eth_chainId": lambda _: hex(self._chain_id),
            "net_version": lambda _: str(self._chain_id),
            "web3_clientVersion": lambda _: "dehedge-sim/v1",
            "eth_blockNumber": lambda _: hex(self.head_number),
            "eth_getLogs": lambda _: [],
            "eth_getBlockByNumber": lambda params: self._get_block_by_number(params[0]),
            "eth_getBlockByHash": lambda params: self._get_block_by_hash(params[0]),
            "eth_getCode": lambda params: self._get_code(*params[:2]),
            "eth_call": lambda params: self._call(*params),
        }

    @property
    def head_number(self) -> int:
        """The highest block that this endpoint has."""
        number = max(0, self._state.head.number - self._faults.lag_blocks)
        return number if self._faults.stuck_at is None else min(number, self._faults.stuck_at)

    def describe_head(self) -> JsonObject:
        block = self._state.get_block(self.head_number)
        assert block is not None, "the head is kept"
        return _format_block(block)

    @property
    def _chain_id(self) -> int:
        return CHAIN_ID if self._faults.chain_id is None else self._faults.chain_id

    def answer(self, request: object) -> JsonObject:
        """One answer, an error answer where need be. Raises HttpRefusal when the node's front would refuse."""
        self.calls = ()
        identity = request.get("id") if isinstance(request, dict) else None
        try:
            return {"jsonrpc": "2.0", "id": identity, "result": self._dispatch(request)}
        except RpcError as error:
            return {"jsonrpc": "2.0", "id": identity, "error": error.body}

    def _dispatch(self, request: object) -> object:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            raise RpcError(-32600, "invalid request")
        method, params = request["method"], request.get("params", [])
        if method not in self._methods:
            raise RpcError(-32601, f"the method {method} does not exist/is not available")
        try:
            return self._methods[method](params)
        # Parameters are whatever a client sent, so their shape is found out by using them.
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise RpcError(-32602, f"invalid argument: {error}") from error

    def _get_block_by_number(self, tag: str) -> JsonObject | None:
        block = self._find_tagged(tag)
        return _format_block(block) if block else None

    def _get_block_by_hash(self, block_hash: str) -> JsonObject | None:
        block = self._find_hashed(block_hash)
        return _format_block(block) if block else None

    def _get_code(self, address: str, reference: object = "latest") -> str:
        self._find_block(reference)
        contract = get_contract(address, self._faults)
        return read_artifacts()[contract].code if contract else "0x"

    def _call(self, transaction: Mapping[str, str], reference: object = "latest") -> str:
        self._check_gas(transaction)
        machine = Machine(self._find_block(reference), self._faults)
        self.calls = machine.calls
        data = bytes.fromhex((transaction.get("input") or transaction.get("data") or "0x")[2:])
        try:
            return "0x" + machine.call(transaction["to"], data).hex()
        except Reverted as revert:
            raise RpcError(3, _describe_revert(revert.data), "0x" + revert.data.hex()) from revert
        except OutOfGas as refusal:
            raise self._build_refusal() from refusal

    def _check_gas(self, transaction: Mapping[str, str]) -> None:
        gas, cap = int(transaction.get("gas", "0x0"), 16), self._faults.call_gas_max
        if cap is not None and gas > cap:
            raise RpcError(-32000, f"transaction gas limit too high (cap: {cap}, tx: {gas})")

    def _build_refusal(self) -> RpcError | HttpRefusal:
        limit = self._faults.page_limit
        refusal = limit.refusal if limit else GETH_OUT_OF_GAS
        return RpcError(*refusal) if isinstance(refusal, ErrorReply) else HttpRefusal(refusal)

    def _find_block(self, reference: object) -> SimBlock:
        """The block of a tag, a number or an EIP-1898 object. Raises the node's error for a block it does not have."""
        if isinstance(reference, dict) and "blockHash" in reference:
            return self._find_pinned(reference["blockHash"], canonical=bool(reference.get("requireCanonical")))
        tag = reference["blockNumber"] if isinstance(reference, dict) else reference
        block = self._find_tagged(str(tag))
        if block is None:
            raise RpcError(-32000, "header not found")
        return block

    def _find_pinned(self, block_hash: str, *, canonical: bool) -> SimBlock:
        block = self._find_hashed(block_hash)
        if block is None:
            raise RpcError(-32000, "header for hash not found")
        if canonical and self._state.get_block(block.number) is not block:
            raise RpcError(-32000, "hash is not currently canonical")
        return block

    def _find_hashed(self, block_hash: str) -> SimBlock | None:
        block = self._state.get_block_by_hash(block_hash)
        return block if block and block.number <= self.head_number else None

    def _find_tagged(self, tag: str) -> SimBlock | None:
        depths = {"latest": 0, "pending": 0, "safe": SAFE_DEPTH_BLOCKS, "finalized": FINALIZED_DEPTH_BLOCKS}
        if tag in depths:
            return self._state.get_block(max(0, self.head_number - depths[tag]))
        number = 0 if tag == "earliest" else int(tag, 16)
        return self._state.get_block(number) if number <= self.head_number else None


def _describe_revert(data: bytes) -> str:
    """The text as geth words it: with the reason where the data carries one."""
    if data[:4] != bytes.fromhex("08c379a0"):
        return "execution reverted"
    length = int.from_bytes(data[36:68], "big")
    return f"execution reverted: {data[68 : 68 + length].decode(errors='replace')}"


def _format_block(block: SimBlock) -> JsonObject:
    zero = "0x" + "00" * 32
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent_hash,
        "timestamp": hex(block.timestamp),
        "miner": "0x4200000000000000000000000000000000000011",
        "gasLimit": hex(400_000_000),
        "gasUsed": "0x0",
        "baseFeePerGas": hex(5_000_000),
        "difficulty": "0x0",
        "extraData": "0x",
        "logsBloom": "0x" + "00" * 256,
        "mixHash": zero,
        "nonce": "0x0000000000000000",
        "receiptsRoot": zero,
        "sha3Uncles": zero,
        "size": "0x264",
        "stateRoot": zero,
        "transactionsRoot": zero,
        "transactions": [],
        "uncles": [],
    }
