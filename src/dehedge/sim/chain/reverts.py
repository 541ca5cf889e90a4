"""How a call fails inside the EVM: reverted with data, or out of gas.

Owns the two exceptions and the encoding of Solidity's ``Error(string)`` and ``Panic(uint256)``. Raised by the call
interpreter and turned into JSON-RPC errors by ``Node``; also used by tests that tell a function to revert.
"""

from __future__ import annotations

from dehedge.sim.chain.abi import encode_string, encode_tuple, encode_uint

UNDERFLOW = 0x11
OUT_OF_BOUNDS = 0x32
OUT_OF_MEMORY = 0x41

_ERROR_SELECTOR = bytes.fromhex("08c379a0")
_PANIC_SELECTOR = bytes.fromhex("4e487b71")


class Reverted(Exception):
    """The contract refused; ``data`` is what it returned with the refusal."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(data.hex())
        self.data = data


class OutOfGas(Exception):
    """The call needs more gas or memory than the node gives to one call."""


def build_error(reason: str) -> bytes:
    return _ERROR_SELECTOR + encode_tuple(encode_string(reason))


def build_panic(code: int) -> bytes:
    return _PANIC_SELECTOR + encode_uint(code)
