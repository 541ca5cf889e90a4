"""A strict stand-in for the Binance USD-M futures exchange: REST, websockets, an account, and its own ledger.

``SimExchange`` is a real TCP server on 127.0.0.1 to which an unmodified client talks. The matching, margin and position
keeping underneath (``Ledger``, ``Api``) are synchronous, take their clock and randomness from outside, and run without it.
Used by the demo and by tests; nothing of the daemon imports it. What may go wrong on purpose is in ``faults``.
"""

from dehedge.sim.exchange.api import Api
from dehedge.sim.exchange.auth import ApiRequest
from dehedge.sim.exchange.calls import Treatment
from dehedge.sim.exchange.faults import Executes, Fault, FaultPlan, FaultRule
from dehedge.sim.exchange.ledger import Ledger
from dehedge.sim.exchange.limits import LimitSettings
from dehedge.sim.exchange.market import Level
from dehedge.sim.exchange.model import Ask, Fill, Order, Position
from dehedge.sim.exchange.refusals import Refused
from dehedge.sim.exchange.stand_in import ExchangeSettings, SimExchange
from dehedge.sim.exchange.streams import Disturbance
from dehedge.sim.exchange.symbols import BTCUSDT, DEFAULT_MARKS, ETHUSDT, SOLUSDT, SymbolRules

__all__ = [
    "BTCUSDT",
    "DEFAULT_MARKS",
    "ETHUSDT",
    "SOLUSDT",
    "Api",
    "ApiRequest",
    "Ask",
    "Disturbance",
    "ExchangeSettings",
    "Executes",
    "Fault",
    "FaultPlan",
    "FaultRule",
    "Fill",
    "Ledger",
    "Level",
    "LimitSettings",
    "Order",
    "Position",
    "Refused",
    "SimExchange",
    "SymbolRules",
    "Treatment",
]
