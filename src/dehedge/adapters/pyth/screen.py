"""Which prices may become a decision: every check between a parsed price and a ``PriceTick``.

Holds the last accepted price of each feed and what is wrong with each market. Reads no clock and does no IO: the time
comes with the call. A price that fails a check is counted and never becomes a tick; a market that has nothing but such
prices is reported once, until a good price ends the episode. Called by ``source`` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from dehedge.adapters.pyth.payload import FeedPrice, Reply
from dehedge.core.model import PRICE_AHEAD_MAX_S, Market, PriceTick

BPS_IN_ONE = 10_000
BAD_IN_A_ROW = 3
"""So many bad prices in a row are reported when there were good ones before: one late price is nothing to report."""


class Flaw(StrEnum):
    """Why a price was not accepted."""

    NOT_POSITIVE = "not_positive"
    UNCERTAIN = "uncertain"
    OUT_OF_ORDER = "out_of_order"
    IN_THE_FUTURE = "in_the_future"
    STALE = "stale"
    MALFORMED = "malformed"
    UNKNOWN_FEED = "unknown_feed"


class Rejection(NamedTuple):
    """A price that was not accepted: which market, why, and the same for a person."""

    market: str
    flaw: Flaw
    reason: str


Outcome: TypeAlias = PriceTick | Rejection


class Screening(NamedTuple):
    """What became of a reply. ``reports`` are reasons that nobody has been told yet."""

    ticks: tuple[PriceTick, ...]
    rejections: tuple[Rejection, ...]
    reports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PriceLimits:
    """What is too old and what is too uncertain; a market's own feed age counts when it is tighter."""

    max_age_s: float
    max_confidence_bps: int

    def get_max_age_s(self, market: Market) -> float:
        return min(self.max_age_s, market.feed_max_age_s) if market.feed_max_age_s > 0 else self.max_age_s


class PriceScreen:
    """Turns replies into ticks for the markets that are watched."""

    def __init__(self, limits: PriceLimits) -> None:
        self.rejected: Counter[tuple[str, Flaw]] = Counter()
        self._limits = limits
        self._markets: dict[str, tuple[Market, ...]] = {}
        self._last: dict[str, FeedPrice] = {}
        self._bad_in_a_row: Counter[str] = Counter()
        self._has_ticked: set[str] = set()
        self._reported: set[tuple[str, Flaw]] = set()

    def watch(self, markets: Mapping[str, tuple[Market, ...]]) -> None:
        """Take over the markets of each feed."""
        self._markets = dict(markets)

    def apply_reply(self, reply: Reply, *, now: float) -> Screening:
        """Screen every price of a reply; feeds that nobody watches are passed over."""
        outcomes: list[Outcome] = []
        for price in reply.prices:
            outcomes += self._screen(price, now)
        for feed_id, problem in reply.malformed.items():
            outcomes += self._reject_feed(feed_id, Flaw.MALFORMED, problem)
        return self._conclude(outcomes)

    def apply_missing(self, feed_ids: Iterable[str]) -> Screening:
        """Note the feeds that were asked for and did not come back."""
        outcomes: list[Outcome] = []
        for feed_id in sorted(feed_ids):
            reason = f"Hermes does not know its feed 0x{feed_id}; check the market's pythFeed"
            outcomes += self._reject_feed(feed_id, Flaw.UNKNOWN_FEED, reason)
        return self._conclude(outcomes)

    def _screen(self, price: FeedPrice, now: float) -> Sequence[Outcome]:
        flaw = self._find_flaw(price, now)
        if flaw is not None:
            return self._reject_feed(price.feed_id, *flaw)
        outcomes = [self._check_age(market, price, now) for market in self._markets.get(price.feed_id, ())]
        if any(isinstance(outcome, PriceTick) for outcome in outcomes):
            self._last[price.feed_id] = price
        return outcomes

    def _find_flaw(self, price: FeedPrice, now: float) -> tuple[Flaw, str] | None:
        if price.price <= 0:
            return Flaw.NOT_POSITIVE, "the price is not positive"
        if price.confidence < 0:
            return Flaw.UNCERTAIN, "the confidence is negative"
        limit_bps = self._limits.max_confidence_bps
        if price.confidence * BPS_IN_ONE > price.price * limit_bps:
            share = _format_percent(-(-price.confidence * BPS_IN_ONE // price.price))
            return Flaw.UNCERTAIN, f"confidence {share} is above {_format_percent(limit_bps)}"
        if _check_older(price, self._last.get(price.feed_id)):
            return Flaw.OUT_OF_ORDER, "the publish time went backwards"
        if price.publish_time > now + PRICE_AHEAD_MAX_S:
            return Flaw.IN_THE_FUTURE, "the publish time is in the future; check this machine's clock"
        return None

    def _check_age(self, market: Market, price: FeedPrice, now: float) -> Outcome:
        limit_s = self._limits.get_max_age_s(market)
        age_s = now - price.publish_time
        if age_s > limit_s:
            return Rejection(market.name, Flaw.STALE, f"the price is {age_s:.0f} s old, above {limit_s:g} s")
        return PriceTick(market.name, price.price, price.confidence, price.publish_time)

    def _reject_feed(self, feed_id: str, flaw: Flaw, reason: str) -> list[Rejection]:
        return [Rejection(market.name, flaw, reason) for market in self._markets.get(feed_id, ())]

    def _conclude(self, outcomes: Sequence[Outcome]) -> Screening:
        ticks = tuple(outcome for outcome in outcomes if isinstance(outcome, PriceTick))
        rejections = tuple(outcome for outcome in outcomes if isinstance(outcome, Rejection))
        for tick in ticks:
            self._note_tick(tick)
        for rejection in rejections:
            self.rejected[rejection.market, rejection.flaw] += 1
            self._bad_in_a_row[rejection.market] += 1
        reports = [f"{rejection.market}: {rejection.reason}" for rejection in rejections if self._check_news(rejection)]
        return Screening(ticks, rejections, tuple(reports))

    def _note_tick(self, tick: PriceTick) -> None:
        self._has_ticked.add(tick.market)
        self._bad_in_a_row.pop(tick.market, None)
        self._reported -= {(tick.market, flaw) for flaw in Flaw}

    def _check_news(self, rejection: Rejection) -> bool:
        """True once for each flaw of a market that has only bad prices."""
        key = (rejection.market, rejection.flaw)
        is_bad = rejection.market not in self._has_ticked or self._bad_in_a_row[rejection.market] >= BAD_IN_A_ROW
        if not is_bad or key in self._reported:
            return False
        self._reported.add(key)
        return True


def _check_older(price: FeedPrice, last: FeedPrice | None) -> bool:
    """True when the last accepted price is newer; in the same second the slot tells, else arrival does."""
    if last is None or price.publish_time != last.publish_time:
        return last is not None and price.publish_time < last.publish_time
    return price.slot is not None and last.slot is not None and price.slot < last.slot


def _format_percent(bps: int) -> str:
    return f"{(Decimal(bps) / 100).normalize():f} %"
