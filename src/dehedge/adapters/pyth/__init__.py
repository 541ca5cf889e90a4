"""Prices from Pyth's Hermes: the stream while it gives prices, polling while it does not.

The daemon and ``dehedge check`` use ``PythSource``; nothing above this package knows httpx or the shape of a reply.
"""

from dehedge.adapters.pyth.pace import Pace
from dehedge.adapters.pyth.payload import FeedPrice, Reply, parse_reply
from dehedge.adapters.pyth.source import PythSource

__all__ = ["FeedPrice", "Pace", "PythSource", "Reply", "parse_reply"]
