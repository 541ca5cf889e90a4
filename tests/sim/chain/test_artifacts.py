"""The shipped bytecode belongs to the shipped source, and speaks DePerp's interface."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from eth_utils import keccak

from dehedge.sim.chain.artifacts import CONTRACTS_FOLDER, read_artifacts, read_source_hash
from dehedge.sim.chain.model import CONTRACT_ADDRESSES

POSITION = "(address,address,string,bool,uint256,uint256,int256,uint256,uint256)"
NUMBERS = ",".join(["uint256"] * 7)
MARKET = f"(string,string,address,{NUMBERS},bytes32,bool,bool)"

INTERFACE = [
    ("DataRegistry", "getAddress(string)", ["address"]),
    ("Positions", "getPositionCount()", ["uint256"]),
    ("Positions", "getPositions(uint256,uint256)", [f"{POSITION}[]"]),
    ("Vault", "getShieldBalance(address)", ["uint256"]),
    ("VaultUtils", "getVaultAvailable(address)", ["uint256"]),
    ("FundingRate", "getFundingTracers(address[],string[])", ["int256[]"]),
    ("TradingMarket", "getMarketList()", ["string[]"]),
    ("TradingMarket", "getMultipleMarkets(string[])", [f"{MARKET}[]"]),
    ("Multicall3", "aggregate3((address,bool,bytes)[])", ["(bool,bytes)[]"]),
    ("Multicall3", "tryBlockAndAggregate(bool,(address,bytes)[])", ["uint256", "bytes32", "(bool,bytes)[]"]),
    ("Multicall3", "getBlockNumber()", ["uint256"]),
    ("Multicall3", "getCurrentBlockTimestamp()", ["uint256"]),
]


def _spell(parameter: dict[str, object]) -> str:
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(_spell(component) for component in parameter["components"])  # type: ignore[attr-defined]
    return f"({inner}){kind.removeprefix('tuple')}"


def test_artifact_is_compiled_from_the_shipped_source() -> None:
    source = (CONTRACTS_FOLDER / "DePerp.sol").read_bytes()

    assert read_source_hash() == sha256(source).hexdigest()


def test_every_contract_has_an_address_and_fits_the_code_limit() -> None:
    assert read_artifacts().keys() == CONTRACT_ADDRESSES.keys()
    assert all(2 < len(artifact.code) < 2 * 24_576 for artifact in read_artifacts().values())


@pytest.mark.parametrize(("contract", "signature", "outputs"), INTERFACE)
def test_contract_has_the_exact_function(contract: str, signature: str, outputs: list[str]) -> None:
    document = json.loads((CONTRACTS_FOLDER / "artifacts.json").read_text())
    functions = [entry for entry in document["contracts"][contract]["abi"] if entry["type"] == "function"]
    spelled = {
        f"{entry['name']}({','.join(map(_spell, entry['inputs']))})": [_spell(output) for output in entry["outputs"]]
        for entry in functions
    }

    assert spelled[signature] == outputs
    assert read_artifacts()[contract].selectors[signature] == keccak(text=signature)[:4]


def test_funding_rate_has_the_exact_event() -> None:
    document = json.loads((CONTRACTS_FOLDER / "artifacts.json").read_text())
    events = [entry for entry in document["contracts"]["FundingRate"]["abi"] if entry["type"] == "event"]

    assert [(event["name"], [(item["type"], item["indexed"]) for item in event["inputs"]]) for event in events] == [
        ("FundingRefreshed", [("address", True), ("string", False), ("int256", False), ("int256", False)])
    ]
