"""What the snapshot reader needs of a node, and the words both use: head, call, contracts.

The seam between reading contracts (``snapshot``) and talking to one RPC endpoint (``endpoint``), so that the former
does not import web3. Frozen data and one Protocol; does nothing by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from dehedge.adapters.chain.codec import CallResult
from dehedge.adapters.chain.paging import PageMemory


class Limits(NamedTuple):
    """How long a request, one endpoint and a whole snapshot may take; a single endpoint may take all of it."""

    request_s: float = 5.0
    endpoint_s: float = 10.0
    snapshot_s: float = 20.0


class Head(NamedTuple):
    """A block: everything of one snapshot is read at its hash. ``time`` in seconds since the epoch."""

    number: int
    hash: str
    time: int


class Call(NamedTuple):
    """A read of a contract."""

    target: str
    data: bytes


class Contracts(NamedTuple):
    """Where the registry says that the contracts are, in the order of ``REGISTRY_KEYS``."""

    positions: str
    vault: str
    vault_utils: str
    funding_rate: str
    trading_market: str


REGISTRY_KEYS = ("Positions", "Vault", "VaultUtils", "FundingRate", "TradingMarket")


class PageReport(NamedTuple):
    """Of ``stored`` positions so many were answered at once; 0 with why none were."""

    stored: int
    answered: int
    error: str = ""


class ContractReport(NamedTuple):
    """An address, and whether a contract is there."""

    name: str
    address: str
    has_code: bool


class Node(Protocol):
    """Reads at one block. Everything raises ``ChainUnavailable`` when there is no answer."""

    host: str

    async def call(self, call: Call, head: Head) -> bytes:
        """Raises ``CallReverted`` or ``CallTooLarge`` where the node says so."""

    async def call_many(self, calls: Sequence[Call], head: Head) -> list[CallResult]:
        """In one request where the node can; a contract that reverts is a result, not an error."""

    def get_page_memory(self, positions: str) -> PageMemory:
        """What was learned about paging this contract on this node."""
