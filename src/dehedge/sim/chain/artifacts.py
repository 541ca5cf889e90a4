"""The compiled contracts, as shipped in ``contracts/artifacts.json``.

Owns reading that file and nothing else: code, selectors and the hash of the source that they were made from. Called by
both chains, so that a selector or a byte of code cannot differ between them. Never compiles; ``contracts/README.md`` has
the command that does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CONTRACTS_FOLDER = Path(__file__).parent / "contracts"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One contract: its runtime code in hex, and the selector of each function by signature."""

    code: str
    selectors: Mapping[str, bytes]

    def get_selector(self, function: str) -> bytes:
        """The selector by name without the parameters. No function here is overloaded."""
        return next(value for signature, value in self.selectors.items() if signature.startswith(f"{function}("))


@cache
def read_artifacts() -> Mapping[str, Artifact]:
    document = json.loads((CONTRACTS_FOLDER / "artifacts.json").read_text())
    return {name: _build_artifact(entry["code"], entry["selectors"]) for name, entry in document["contracts"].items()}


def read_source_hash() -> str:
    """The SHA-256 of the source that the shipped code was compiled from."""
    document = json.loads((CONTRACTS_FOLDER / "artifacts.json").read_text())
    return str(document["source_sha256"])


def _build_artifact(code: str, selectors: Mapping[str, str]) -> Artifact:
    return Artifact(code, {signature: bytes.fromhex(value) for signature, value in selectors.items()})
