"""A local stand-in of Hermes, the price service of Pyth: latest prices and the stream, with faults on demand.

Speaks the real protocol on 127.0.0.1: payload shape, bearer key, query validation, server-sent events. For the demo and
the tests only; it signs nothing, so the binary part of a reply has the right look and size but proves nothing.
"""

from dehedge.sim.hermes.faults import Fault, Route
from dehedge.sim.hermes.prices import FEED_IDS
from dehedge.sim.hermes.server import SimHermes, SimRequest

__all__ = ["FEED_IDS", "Fault", "Route", "SimHermes", "SimRequest"]
