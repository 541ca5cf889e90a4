"""Answers contract calls as the EVM would, from the contents of one block and the faults of one endpoint.

Owns the dispatch by address and selector, the multicall and the accounting of returned positions against the node's
limit. One machine serves one ``eth_call``. Never changes anything; a setter reverts. Called by ``Node``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from dehedge.sim.chain.abi import (
    Arguments,
    Malformed,
    Tail,
    encode_array,
    encode_bytes,
    encode_tuple,
    encode_uint,
)
from dehedge.sim.chain.artifacts import read_artifacts
from dehedge.sim.chain.faults import Faults
from dehedge.sim.chain.model import CONTRACT_ADDRESSES
from dehedge.sim.chain.pages import build_page, encode_page
from dehedge.sim.chain.reads import READS
from dehedge.sim.chain.reverts import OutOfGas, Reverted, build_error
from dehedge.sim.chain.state import SimBlock

DEPTH_MAX = 64
"""Multicalls within multicalls, far beyond any use."""

_NAMES = {address.lower(): name for name, address in CONTRACT_ADDRESSES.items()}
_CALL_FAILED = build_error("Multicall3: call failed")


class ContractCall(NamedTuple):
    """One contract function that was called; ``page`` is (length, offset) of ``getPositions``."""

    contract: str
    function: str
    page: tuple[int, int] | None = None


class Machine:
    """One execution. ``calls`` is the record of the known functions called in it, in order."""

    def __init__(self, block: SimBlock, faults: Faults) -> None:
        self.calls: list[ContractCall] = []
        self._block = block
        self._contents = replace(block.contents, positions=()) if faults.hides_positions else block.contents
        self._faults = faults
        self._positions_read = 0
        self._depth = 0

    def call(self, target: str, data: bytes) -> bytes:
        """The return data. Raises Reverted and OutOfGas; an address without code answers nothing, as on chain."""
        contract = get_contract(target, self._faults)
        if contract is None:
            return b""
        function = _get_functions(contract).get(data[:4])
        if function is None:
            raise Reverted
        try:
            return self._run(contract, function, Arguments(data, 4))
        except Malformed:
            raise Reverted from None

    def get_block_number(self, _: Arguments) -> bytes:
        return encode_uint(self._block.number)

    def get_timestamp(self, _: Arguments) -> bytes:
        return encode_uint(self._block.timestamp)

    def get_positions(self, arguments: Arguments) -> bytes:
        contents = self._contents
        positions = () if self._faults.empties_pages else contents.positions
        page = build_page(positions, contents.paging, arguments.read_uint(0), arguments.read_uint(1))
        self._positions_read += len(page)
        limit = self._faults.page_limit
        if limit is not None and self._positions_read > limit.positions:
            raise OutOfGas
        return encode_page(page)

    def aggregate(self, arguments: Arguments) -> bytes:
        count, calls = arguments.read_array(0)
        return encode_tuple(encode_array([self._try_flagged(calls.follow(slot)) for slot in range(count)]))

    def try_block_and_aggregate(self, arguments: Arguments) -> bytes:
        allowed = not arguments.read_bool(0)
        count, calls = arguments.read_array(1)
        results = [self._try_plain(calls.follow(slot), is_failure_allowed=allowed) for slot in range(count)]
        # Inside a block its own hash does not exist yet, so the EVM answers zero.
        return encode_tuple(encode_uint(self._block.number), encode_uint(0), encode_array(results))

    def _run(self, contract: str, function: str, arguments: Arguments) -> bytes:
        page = (arguments.read_uint(0), arguments.read_uint(1)) if function == "getPositions" else None
        self.calls.append(ContractCall(contract, function, page))
        if function in self._faults.reverting:
            raise Reverted(self._faults.reverting[function])
        if function == "getAddress" and arguments.read_string(0) in self._faults.unregistered:
            return encode_uint(0)
        own = _OWN.get((contract, function))
        return own(self, arguments) if own else READS[contract, function](self._contents, arguments)

    def _try_flagged(self, call: Arguments) -> Tail:
        return self._try(call.read_address(0), call.read_bytes(2), is_failure_allowed=call.read_bool(1))

    def _try_plain(self, call: Arguments, *, is_failure_allowed: bool) -> Tail:
        return self._try(call.read_address(0), call.read_bytes(1), is_failure_allowed=is_failure_allowed)

    def _try(self, target: str, data: bytes, *, is_failure_allowed: bool) -> Tail:
        try:
            result, success = self._call_deeper(target, data), True
        except Reverted as revert:
            result, success = revert.data, False
        except OutOfGas:
            if self._faults.page_limit is None or not self._faults.page_limit.inside:
                raise
            result, success = b"", False
        if not success and not is_failure_allowed:
            raise Reverted(_CALL_FAILED)
        return Tail(encode_tuple(encode_uint(success), encode_bytes(result)))

    def _call_deeper(self, target: str, data: bytes) -> bytes:
        if self._depth == DEPTH_MAX:
            raise Reverted
        self._depth += 1
        try:
            return self.call(target, data)
        finally:
            self._depth -= 1


_OWN: Mapping[tuple[str, str], Callable[[Machine, Arguments], bytes]] = {
    ("Positions", "getPositions"): Machine.get_positions,
    ("Multicall3", "aggregate3"): Machine.aggregate,
    ("Multicall3", "tryBlockAndAggregate"): Machine.try_block_and_aggregate,
    ("Multicall3", "getBlockNumber"): Machine.get_block_number,
    ("Multicall3", "getCurrentBlockTimestamp"): Machine.get_timestamp,
}


def get_contract(address: str, faults: Faults) -> str | None:
    """The name of the contract at an address, None where this endpoint knows no code."""
    name = _NAMES.get(address.lower())
    return None if name == "Multicall3" and not faults.has_multicall else name


@cache
def _get_functions(contract: str) -> Mapping[bytes, str]:
    """The readable functions of a contract by selector."""
    functions = [function for owner, function in (*READS, *_OWN) if owner == contract]
    return {read_artifacts()[contract].get_selector(function): function for function in functions}
