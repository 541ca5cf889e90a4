"""The registry of exchanges: a name, and what builds its connector.

A new exchange is a module and a line here. Connectors get plain values, never the daemon's settings, and their
libraries are imported only when they are chosen. Called by the daemon and by ``check``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from dehedge.core.invariants import Breach
from dehedge.ports import Clock, Connector


@dataclass(frozen=True, slots=True)
class ConnectorOptions:
    """Everything that some connector needs; each takes what concerns it. Secrets stay out of the repr.

    ``state_path`` is the paper account's file, ``pause_path`` keeps the exchange's pauses over restarts, ``get_price``
    is the price feed's price of a symbol, ``request_s`` how long one request to the exchange may take, ``spot_url`` where
    it tells what a key may do; ``on_breach`` is told when a connector has broken a law of its own.
    """

    rest_url: str
    ws_url: str
    clock: Clock
    api_key: str = field(default="", repr=False)
    api_secret: str = field(default="", repr=False)
    leverage: int = 20
    margin_type: str = "ISOLATED"
    state_path: str = ""
    pause_path: str = ""
    start_balance: Decimal = Decimal(100_000)
    get_price: Callable[[str], Decimal | None] = lambda _: None
    request_s: float = 5.0
    spot_url: str = ""
    on_breach: Callable[[Breach], None] = lambda _: None


def build_binance(options: ConnectorOptions) -> Connector:
    from dehedge.connectors.binance import BinanceConnector
    from dehedge.connectors.binance.timing import Timing

    return BinanceConnector(
        api_key=options.api_key,
        api_secret=options.api_secret,
        rest_url=options.rest_url,
        ws_url=options.ws_url,
        leverage=options.leverage,
        margin_type=options.margin_type,
        clock=options.clock,
        timing=Timing(request_s=options.request_s),
        on_breach=options.on_breach,
        pause_path=options.pause_path,
        spot_url=options.spot_url,
    )


def build_paper(options: ConnectorOptions) -> Connector:
    """Raises ``ConfigError`` when the paper account's file cannot be used."""
    from dehedge.connectors.binance import BinanceMarketData
    from dehedge.connectors.binance.timing import Timing
    from dehedge.connectors.paper import PaperConnector
    from dehedge.connectors.paper_ledger import PaperLedger

    return PaperConnector(
        market_data=BinanceMarketData(
            rest_url=options.rest_url,
            ws_url=options.ws_url,
            clock=options.clock,
            timing=Timing(request_s=options.request_s),
            on_breach=options.on_breach,
            pause_path=options.pause_path,
        ),
        get_price=options.get_price,
        ledger=PaperLedger(options.state_path, options.start_balance),
        leverage=options.leverage,
        clock=options.clock,
    )


CONNECTORS: dict[str, Callable[[ConnectorOptions], Connector]] = {
    "binance": build_binance,
    "paper": build_paper,
}
