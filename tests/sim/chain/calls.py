"""Builders of ``eth_call`` transactions, encoded by the library so that they are independent of our own encoder."""

from __future__ import annotations

from typing import Any

import eth_abi

from dehedge.sim.chain.artifacts import read_artifacts
from dehedge.sim.chain.model import CONTRACT_ADDRESSES

Call = dict[str, str]


def a_call(contract: str, function: str, *values: Any) -> Call:
    signature = next(name for name in read_artifacts()[contract].selectors if name.startswith(f"{function}("))
    kinds = _split_kinds(signature.partition("(")[2][:-1])
    data = read_artifacts()[contract].selectors[signature] + eth_abi.encode(kinds, values)
    return {"to": CONTRACT_ADDRESSES[contract], "data": "0x" + data.hex()}


def an_aggregate(*calls: Call, allow_failure: bool = True) -> Call:
    spread = [(call["to"], allow_failure, bytes.fromhex(call["data"][2:])) for call in calls]
    return a_call("Multicall3", "aggregate3", spread)


def _split_kinds(text: str) -> list[str]:
    kinds, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            kinds.append("")
        else:
            kinds[-1] += letter
    return [kind for kind in kinds if kind]
