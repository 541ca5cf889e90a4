"""``PythSource``: keeps prices coming, by the stream while it gives prices and by polling while it does not.

Two loops share one gate: one holds the stream, one polls when it is wanted. A failure of the stream alone is bridged by
polling and only logged; the sink hears of what keeps prices away, each reason once until prices flow again. Decides
nothing about a price; ``screen`` does. Called by the daemon and by ``dehedge check``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from dehedge.adapters.pyth.client import HermesClient, KeyRefused, Throttled
from dehedge.adapters.pyth.pace import Backoff, Gate, Pace
from dehedge.adapters.pyth.payload import MalformedReply, parse_feeds, parse_reply, read_feed_id
from dehedge.adapters.pyth.screen import Flaw, PriceLimits, PriceScreen, Screening
from dehedge.core.model import Market, PriceTick
from dehedge.errors import PriceUnavailable
from dehedge.ports import Clock, PriceSink

log = structlog.get_logger()

ZERO_FEED = "0" * 64


class PythSource:
    """A ``ports.PriceSource`` over one Hermes. Raises ``ConfigError`` for a URL or a key that cannot be sent."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        poll_interval_s: float,
        max_age_s: float,
        max_confidence_bps: int,
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace or Pace()
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._client = HermesClient(base_url, api_key, clock=clock, pace=self._pace)
        self._limits = PriceLimits(max_age_s, max_confidence_bps)
        self._screen = PriceScreen(self._limits)
        self._gate = Gate(self._pace, poll_interval_s=poll_interval_s)
        self._backoff = Backoff(self._pace)
        self._markets: dict[str, tuple[Market, ...]] = {}
        self._ignored: set[str] = set()
        self._told: set[str] = set()
        self._changed, self._poll_wanted = asyncio.Event(), asyncio.Event()
        self._is_stream_down = False
        self._is_polling_well = False

    @property
    def rejected(self) -> Mapping[tuple[str, Flaw], int]:
        """How many prices of each market were not accepted, by flaw."""
        return self._screen.rejected

    def watch(self, markets: Mapping[str, Market]) -> None:
        """Want the feeds of these markets from now on; another set of feeds restarts the stream."""
        grouped = self._group(markets)
        is_changed = grouped.keys() != self._markets.keys()
        self._markets = grouped
        self._screen.watch(grouped)
        if is_changed:
            self._changed.set()

    async def run(self, sink: PriceSink) -> None:
        """Feed the sink until canceled; heals itself, never gives up."""
        while True:
            self._changed.clear()
            async with asyncio.TaskGroup() as group:
                loops = (self._keep_stream(sink), self._keep_polling(sink)) if self._markets else ()
                tasks = [group.create_task(loop) for loop in loops]
                await self._changed.wait()
                for task in tasks:
                    task.cancel()

    async def close(self) -> None:
        await self._client.close()

    async def fetch_latest(self) -> Mapping[str, PriceTick | PriceUnavailable]:
        """Per market its price or why it has none, by one request. Raises ``PriceUnavailable`` when that fails."""
        if not self._markets:
            return {}
        reply = parse_reply(await self._client.fetch_latest(self._markets))
        screen = PriceScreen(self._limits)
        screen.watch(self._markets)
        screenings = (
            screen.apply_reply(reply, now=self._clock.time()),
            screen.apply_missing(self._markets.keys() - reply.feed_ids),
        )
        return {market: outcome for screening in screenings for market, outcome in _list_outcomes(screening)}

    async def fetch_feed_ids(self) -> Mapping[str, str]:
        """The ids of all feeds by what they price, such as ``BTC/USD``. Raises ``PriceUnavailable``."""
        return parse_feeds(await self._client.fetch_feeds())

    def _group(self, markets: Mapping[str, Market]) -> dict[str, tuple[Market, ...]]:
        grouped: dict[str, tuple[Market, ...]] = {}
        for market in markets.values():
            feed_id = read_feed_id(market.pyth_feed)
            if feed_id is None or feed_id == ZERO_FEED:
                self._ignore(market)
            else:
                grouped[feed_id] = (*grouped.get(feed_id, ()), market)
        return grouped

    def _ignore(self, market: Market) -> None:
        if market.name not in self._ignored:
            self._ignored.add(market.name)
            log.warning("market_ignored", market=market.name, reason="it has no Pyth feed")

    async def _keep_stream(self, sink: PriceSink) -> None:
        while True:
            await self._gate.enter()
            try:
                await self._read_stream(sink)
            except PriceUnavailable as error:
                wait_s = self._lose_stream(error, sink)
                await asyncio.sleep(wait_s)

    async def _read_stream(self, sink: PriceSink) -> None:
        """Follow the stream until it ends, breaks or gives no price for too long, which all raise."""
        silence_s = self._pace.get_silence_s(self._poll_interval_s)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(silence_s) as silence, self._client.open_stream(self._markets) as events:
                self._note_connected()
                first_at: float | None = None
                async for text in events:
                    if not self._deliver(self._screen.apply_reply(parse_reply(text), now=self._clock.time()), sink):
                        continue
                    first_at = loop.time() if first_at is None else first_at
                    self._note_streaming(loop.time() - first_at)
                    silence.reschedule(loop.time() + silence_s)
        except TimeoutError:
            raise PriceUnavailable(f"the stream of Hermes gave no price for {silence_s:g} s") from None

    def _note_connected(self) -> None:
        """Ask for the prices that the stream may have missed, at once unless streams have been failing."""
        if self._backoff.is_fresh:
            self._gate.skip_spacing()
        self._poll_wanted.set()

    def _note_streaming(self, lasting_s: float) -> None:
        if self._is_stream_down:
            self._is_stream_down = False
            log.info("price_stream_restored")
        if lasting_s >= self._pace.backoff_reset_s:
            self._backoff.reset()

    def _lose_stream(self, error: PriceUnavailable, sink: PriceSink) -> float:
        """Let polling take over; the wait before the next attempt, in seconds."""
        is_holding = isinstance(error, Throttled) or (isinstance(error, KeyRefused) and not self._is_polling_well)
        if is_holding:
            self._gate.hold(error.retry_after_s or 0.0)
        # Polling bridges a lost stream, so that its later failures are nobody's concern while polls succeed.
        if is_holding or (isinstance(error, KeyRefused | MalformedReply) and not self._is_stream_down):
            self._tell(error, sink)
        if not self._is_stream_down:
            self._is_stream_down = True
            log.info("price_stream_lost", reason=str(error))
        self._gate.note_failure()
        self._poll_wanted.set()
        return max(self._backoff.next_wait_s(), error.retry_after_s or 0.0)

    async def _keep_polling(self, sink: PriceSink) -> None:
        while True:
            if self._is_stream_down:
                self._poll_wanted.set()
            await self._poll_wanted.wait()
            await self._gate.enter()
            self._poll_wanted.clear()
            await self._poll(sink)
            await asyncio.sleep(self._poll_interval_s)

    async def _poll(self, sink: PriceSink) -> None:
        feed_ids = frozenset(self._markets)
        try:
            reply = parse_reply(await self._client.fetch_latest(feed_ids))
        except PriceUnavailable as error:
            self._is_polling_well = False
            self._gate.note_failure()
            self._gate.hold(error.retry_after_s or 0.0)
            self._tell(error, sink)
            return
        self._is_polling_well = True
        self._gate.note_success()
        self._deliver(self._screen.apply_reply(reply, now=self._clock.time()), sink)
        self._deliver(self._screen.apply_missing(feed_ids - reply.feed_ids), sink)

    def _deliver(self, screening: Screening, sink: PriceSink) -> bool:
        """Pass on what was accepted and what is news; True when there was a tick."""
        if screening.ticks:
            self._told.clear()
            sink.put(screening.ticks)
        for report in screening.reports:
            sink.fail(PriceUnavailable(report))
        return bool(screening.ticks)

    def _tell(self, error: PriceUnavailable, sink: PriceSink) -> None:
        if str(error) not in self._told:
            self._told.add(str(error))
            sink.fail(error)


def _list_outcomes(screening: Screening) -> Sequence[tuple[str, PriceTick | PriceUnavailable]]:
    ticks = [(tick.market, tick) for tick in screening.ticks]
    problems = [(flawed.market, PriceUnavailable(flawed.reason)) for flawed in screening.rejections]
    return [*problems, *ticks]
