"""The exchange's REST interface without its sockets: a request in, a reply out.

Theory of operation: the door comes first (ban, route, weight), then the key, the clock window and the signature, then the
order count, then the handler. Whatever the outcome, the reply carries the used weight and the request is written down.
Synchronous and deterministic, so a simulation can call ``handle`` without a server; ``server`` puts it on TCP and adds the
faults that only a socket can have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from dehedge.sim.exchange.auth import ApiRequest, TimeWindow, check_signature, get_key
from dehedge.sim.exchange.calls import PLAIN, Call, Route, Treatment, Venue
from dehedge.sim.exchange.params import Params, parse_leniently, parse_pairs
from dehedge.sim.exchange.record import Record, RequestRecord
from dehedge.sim.exchange.refusals import Refused
from dehedge.sim.exchange.routes import ROUTES

HANDSHAKE_WEIGHT = 5


class ApiReply(NamedTuple):
    """What goes back: a status, the body as text, and the exchange's headers. ``code`` is 0 for success."""

    status: int
    body: str
    headers: dict[str, str]
    code: int = 0


def dump(payload: Any) -> str:
    return json.dumps(payload, separators=(",", ":"))


class Api:
    """Answers requests from the venue's state, and keeps the record of them."""

    def __init__(self, venue: Venue, clock_ms: Callable[[], int]) -> None:
        self.venue, self._clock_ms = venue, clock_ms
        self.record = Record()

    def handle(self, request: ApiRequest, treatment: Treatment = PLAIN) -> ApiReply:
        """Carry out one request, whole, now."""
        now_ms = self._clock_ms()
        self.advance(now_ms)
        try:
            reply = self._answer(request, treatment, now_ms)
        except Refused as refused:
            reply = self._refuse(refused)
        reply.headers.update(self.venue.limits.build_weight_header(request.address, now_ms))
        self.note(request, reply, treatment.fault)
        return reply

    def _answer(self, request: ApiRequest, treatment: Treatment, now_ms: int) -> ApiReply:
        route = ROUTES.get((request.method, request.path))
        weight = route.compute_weight(parse_leniently(request.query, request.body)) if route else 1
        self.venue.limits.charge_weight(request.address, weight, now_ms)
        if route is None:
            raise Refused(-5000, request.path, request.method)
        params = parse_pairs(request.query, request.body)
        self._authenticate(route, request, params, treatment)
        headers = self._charge_orders(route, now_ms)
        payload = route.handler(Call(self.venue, params, now_ms, treatment))
        return ApiReply(200, dump(payload), headers)

    def _authenticate(self, route: Route, request: ApiRequest, params: Params, treatment: Treatment) -> None:
        """Check the key, then the time, then the signature; a request held up on its way is checked at both ends."""
        if route.security == "NONE":
            return
        key = get_key(self.venue.keys, request)
        if route.security == "KEY":
            return
        if route.writes and not key.trades:
            raise Refused(-2015)
        now_ms = self._clock_ms()
        window = TimeWindow(params)
        window.check(treatment.arrived_ms or now_ms)
        check_signature(key, request, params)
        window.check_matching(now_ms)

    def _charge_orders(self, route: Route, now_ms: int) -> dict[str, str]:
        if not any(route.orders):
            return {}
        self.venue.limits.charge_orders(*route.orders, now_ms)
        return self.venue.limits.build_order_headers(now_ms)

    def _refuse(self, refused: Refused) -> ApiReply:
        headers = {}
        if refused.retry_after_s is not None:
            headers["Retry-After"] = str(max(math.ceil(refused.retry_after_s), 1))
        return ApiReply(refused.status, dump({"code": refused.code, "msg": refused.msg}), headers, refused.code)

    def note(self, request: ApiRequest, reply: ApiReply | None, fault: str) -> None:
        """Write a request down; without a reply it was not carried out."""
        shown = parse_leniently(request.query, request.body).build_shown()
        status, code = (reply.status, reply.code) if reply else (0, 0)
        self.record.requests.append(
            RequestRecord(self._clock_ms(), request.method, request.path, shown, status, code, fault)
        )

    def get_now_ms(self) -> int:
        return self._clock_ms()

    def throttle(self, address: str, seconds: float) -> None:
        self.venue.limits.throttle(address, self._clock_ms(), seconds)

    def charge_handshake(self, address: str) -> None:
        """Count a websocket handshake; it is never refused here."""
        self.venue.limits.get_caller(address).weight.add(HANDSHAKE_WEIGHT, self._clock_ms())

    def build_weight_header(self, address: str) -> dict[str, str]:
        return self.venue.limits.build_weight_header(address, self._clock_ms())

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due: dead-man switches, dated orders, listen keys."""
        venue, ledger = self.venue, self.venue.ledger
        for symbol in [s for s, due_ms in venue.countdowns.items() if due_ms <= now_ms]:
            del venue.countdowns[symbol]
            for order in ledger.orders.get_open(symbol):
                ledger.cancel(order)
        for order in ledger.orders.get_open():
            if 0 < order.ask.good_till_ms <= now_ms:
                ledger.expire(order, 0)
        venue.listen_keys.expire_due(now_ms)
