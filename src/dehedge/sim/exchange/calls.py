"""What a handler is given: the state behind the API, and one request after authentication.

Types only, so that the handler modules need not know one another or the API that calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from dehedge.sim.exchange.auth import ApiKey, ListenKeys
from dehedge.sim.exchange.ledger import Ledger
from dehedge.sim.exchange.limits import Limits
from dehedge.sim.exchange.market import Market
from dehedge.sim.exchange.params import Params
from dehedge.sim.exchange.refusals import Refused

Security = Literal["NONE", "KEY", "SIGNED"]


@dataclass(frozen=True, slots=True)
class Treatment:
    """How a fault bends the execution of one request; the default bends nothing."""

    fill_ratio: Decimal | None = None
    hidden_s: float = 0.0
    arrived_ms: int | None = None
    fault: str = ""


PLAIN = Treatment()


@dataclass(slots=True)
class Venue:
    """The state behind every endpoint. ``countdowns`` are the dead-man deadlines by symbol."""

    ledger: Ledger
    limits: Limits
    keys: dict[str, ApiKey]
    listen_keys: ListenKeys
    countdowns: dict[str, int] = field(default_factory=dict)

    def get_market(self, symbol: str) -> Market:
        """Raises ``Refused`` for a symbol that is not listed."""
        market = self.ledger.markets.get(symbol)
        if market is None:
            raise Refused(-1121)
        return market


@dataclass(frozen=True, slots=True)
class Call:
    """One request that passed the door."""

    venue: Venue
    params: Params
    now_ms: int
    treatment: Treatment = PLAIN

    @property
    def ledger(self) -> Ledger:
        return self.venue.ledger

    def require_market(self) -> Market:
        return self.venue.get_market(self.params.require("symbol"))

    def get_markets(self) -> list[Market]:
        """The one market asked for, or all."""
        symbol = self.params.get("symbol")
        return list(self.ledger.markets.values()) if symbol is None else [self.venue.get_market(symbol)]


Handler = Callable[[Call], Any]
Weight = int | Callable[[Params], int]


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint: what it costs, who may call it, and what answers. ``orders`` are its (10 s, 1 min) order counts."""

    handler: Handler
    weight: Weight = 1
    security: Security = "SIGNED"
    writes: bool = False
    orders: tuple[int, int] = (0, 0)

    def compute_weight(self, params: Params) -> int:
        return self.weight if isinstance(self.weight, int) else self.weight(params)


Routes = Mapping[tuple[str, str], Route]
