"""Rate limits in the exchange's fixed windows: request weight per address, orders per account.

Counts and refuses; never sleeps. Windows are aligned to the clock, as the exchange's are, so a burst across a boundary
passes. A caller that goes on after a 429 is banned, and each further ban lasts longer. The API charges every request here
before it looks at the key.
"""

from __future__ import annotations

from dataclasses import dataclass

from dehedge.sim.exchange.refusals import Banned, build_wait

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000
BAN_FIRST_S = 120.0
BAN_LONGEST_S = 3 * 86_400.0


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much is allowed, and how many calls during a 429 are forgiven before the ban."""

    weight_1m: int = 2_400
    orders_10s: int = 300
    orders_1m: int = 1_200
    strikes_max: int = 10


@dataclass(slots=True)
class Window:
    """A counter that starts anew with each span of the clock."""

    span_ms: int
    limit: int
    span: int = -1
    used: int = 0

    def peek(self, now_ms: int) -> int:
        return self.used if now_ms // self.span_ms == self.span else 0

    def add(self, amount: int, now_ms: int) -> None:
        self.used = self.peek(now_ms) + amount
        self.span = now_ms // self.span_ms

    def check_fits(self, amount: int, now_ms: int) -> bool:
        return self.peek(now_ms) + amount <= self.limit

    def get_rest_s(self, now_ms: int) -> float:
        return (self.span_ms - now_ms % self.span_ms) / 1000


@dataclass(slots=True)
class Caller:
    """What is held against one address."""

    weight: Window
    throttled_until_ms: int = 0
    banned_until_ms: int = 0
    strikes: int = 0
    bans: int = 0


class Limits:
    """All counters. Every method takes the time, none reads a clock."""

    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        self.orders_10s = Window(TEN_SECONDS_MS, settings.orders_10s)
        self.orders_1m = Window(MINUTE_MS, settings.orders_1m)
        self._callers: dict[str, Caller] = {}

    def get_caller(self, address: str) -> Caller:
        return self._callers.setdefault(address, Caller(Window(MINUTE_MS, self.settings.weight_1m)))

    def throttle(self, address: str, now_ms: int, seconds: float) -> None:
        """Answer 429 to this address until then, and ban it when it does not stop."""
        caller = self.get_caller(address)
        caller.throttled_until_ms = max(caller.throttled_until_ms, now_ms + round(seconds * 1000))
        caller.strikes = 0

    def charge_weight(self, address: str, weight: int, now_ms: int) -> None:
        """Count a request. Raises ``Refused`` (429) over the limit, ``Banned`` (418) when that was ignored."""
        caller = self.get_caller(address)
        caller.weight.add(weight, now_ms)
        self._check_ban(caller, now_ms)
        if now_ms < caller.throttled_until_ms:
            self._strike(caller, now_ms)
        if caller.weight.used > caller.weight.limit:
            self.throttle(address, now_ms, caller.weight.get_rest_s(now_ms))
            raise self._build_throttled(caller, now_ms)

    def _check_ban(self, caller: Caller, now_ms: int) -> None:
        if now_ms < caller.banned_until_ms:
            raise Banned(caller.banned_until_ms, (caller.banned_until_ms - now_ms) / 1000)

    def _strike(self, caller: Caller, now_ms: int) -> None:
        caller.strikes += 1
        if caller.strikes <= self.settings.strikes_max:
            raise self._build_throttled(caller, now_ms)
        ban_s = min(BAN_FIRST_S * 2**caller.bans, BAN_LONGEST_S)
        caller.bans += 1
        caller.banned_until_ms = now_ms + round(ban_s * 1000)
        self._check_ban(caller, now_ms)

    def _build_throttled(self, caller: Caller, now_ms: int) -> Exception:
        rest_s = (caller.throttled_until_ms - now_ms) / 1000
        return build_wait(-1003, rest_s, self.settings.weight_1m)

    def charge_orders(self, in_10s: int, in_1m: int, now_ms: int) -> None:
        """Count orders of the account. Raises ``Refused`` (-1015) when a window is full."""
        if not self.orders_10s.check_fits(in_10s, now_ms):
            raise build_wait(-1015, self.orders_10s.get_rest_s(now_ms), self.orders_10s.limit, "10 SECOND")
        if not self.orders_1m.check_fits(in_1m, now_ms):
            raise build_wait(-1015, self.orders_1m.get_rest_s(now_ms), self.orders_1m.limit, "1 MINUTE")
        self.orders_10s.add(in_10s, now_ms)
        self.orders_1m.add(in_1m, now_ms)

    def build_weight_header(self, address: str, now_ms: int) -> dict[str, str]:
        return {"X-MBX-USED-WEIGHT-1M": str(self.get_caller(address).weight.peek(now_ms))}

    def build_order_headers(self, now_ms: int) -> dict[str, str]:
        return {
            "X-MBX-ORDER-COUNT-10S": str(self.orders_10s.peek(now_ms)),
            "X-MBX-ORDER-COUNT-1M": str(self.orders_1m.peek(now_ms)),
        }
