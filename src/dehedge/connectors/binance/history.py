"""The account's past orders, trades and bookings, complete whatever their number.

The exchange answers for less than seven days at a time and at most a thousand rows, and does not say which thousand. So
a span that comes back full is cut in half and asked again, until each part is complete. Called by the connector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dehedge.connectors.binance.endpoints import Endpoint
from dehedge.connectors.binance.gateway import Gateway
from dehedge.connectors.binance.rows import Row, iterate_rows

ROWS_MAX = 1000
SPAN_MAX_MS = 7 * 86_400_000 - 1
AGE_MAX_MS = 89 * 86_400_000
"""Older than about three months the exchange no longer tells."""

AHEAD_MS = 1000
"""The last span ends this much in the future, so that nothing of just now is missed."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time span in milliseconds of the exchange's clock, both ends included."""

    start_ms: int
    end_ms: int

    def halve(self) -> tuple[Span, Span]:
        middle = (self.start_ms + self.end_ms) // 2
        return Span(self.start_ms, middle), Span(middle + 1, self.end_ms)


@dataclass(frozen=True, slots=True)
class History:
    """One list of rows, of one symbol or of one kind by ``wanted``; ``key`` is the field that numbers a symbol's rows."""

    gateway: Gateway
    endpoint: Endpoint
    wanted: Mapping[str, str]
    key: str

    async def fetch_since(self, since_s: float) -> list[Row]:
        """Every row since then by our own clock, which may be far from the exchange's; each once, by ascending number."""
        found: dict[tuple[int, str], Row] = {}
        clock = self.gateway.clock
        for span in build_spans(int((since_s + clock.offset_s) * 1000), int(clock.time() * 1000)):
            for row in await self._fetch_span(span):
                found[row.get_integer(self.key), row.get_text("symbol")] = row
        return [found[number] for number in sorted(found)]

    async def _fetch_span(self, span: Span) -> list[Row]:
        payload = await self.gateway.fetch(
            self.endpoint,
            **self.wanted,
            startTime=str(span.start_ms),
            endTime=str(span.end_ms),
            limit=str(ROWS_MAX),
        )
        rows = list(iterate_rows(self.endpoint.method, payload))
        if len(rows) < ROWS_MAX or span.start_ms == span.end_ms:
            return rows
        first, second = span.halve()
        return await self._fetch_span(first) + await self._fetch_span(second)


def build_spans(since_ms: int, now_ms: int) -> list[Span]:
    """Spans that the exchange accepts, from then until a moment from now, without a gap."""
    start, end = max(since_ms, now_ms - AGE_MAX_MS), now_ms + AHEAD_MS
    return [Span(at, min(at + SPAN_MAX_MS - 1, end)) for at in range(start, end + 1, SPAN_MAX_MS)]
