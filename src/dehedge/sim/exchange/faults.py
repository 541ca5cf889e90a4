"""The fault plan: which calls go wrong, and how.

A ``Fault`` says three independent things of a call: whether and when it is executed, what the client gets to see, and what
is bent in the execution itself. The builders below name the combinations that happen on the exchange; a test may make any
other. Pure: ``FaultPlan.take`` only counts and decides, the server acts.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, replace
from decimal import Decimal

from dehedge.sim.exchange.auth import ApiRequest
from dehedge.sim.exchange.params import Params, parse_leniently
from dehedge.sim.exchange.refusals import MESSAGES, STATUSES

JSON_TYPE, HTML_TYPE = "application/json", "text/html"
HTML_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
UNKNOWN_ERROR = "Unknown error, please check your request or try again later."
UNAVAILABLE = "Service Unavailable."


class Executes(enum.Enum):
    """When the call is carried out: as it comes, not at all, or after the client was answered."""

    NOW = "now"
    NEVER = "never"
    LATE = "late"


class Loss(enum.Enum):
    """No answer at all: the connection is reset, or stays open in silence."""

    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets instead of the truth.

    A ``gateway`` answer is from the machine in front: its body is a message only, with time and path but no code.
    """

    status: int
    body: str
    content_type: str = JSON_TYPE
    gateway: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a call; the default is nothing. ``answer`` None is the true reply."""

    name: str
    executes: Executes = Executes.NOW
    answer: Answer | Loss | None = None
    delay_before_s: float = 0.0
    delay_after_s: float = 0.0
    late_s: float = 0.0
    throttle_s: float = 0.0
    hidden_s: float = 0.0
    fill_ratio: Decimal | None = None
    spares_reducing: bool = False


def build_error(code: int, status: int | None = None, msg: str | None = None) -> Answer:
    """The exchange's error body for a code, with its own status unless told otherwise."""
    msg = MESSAGES[code].replace("{}", "...") if msg is None else msg
    body = json.dumps({"code": code, "msg": msg}, separators=(",", ":"))
    return Answer(int(STATUSES.get(code, 400) if status is None else status), body)


def refused(code: int, status: int | None = None, msg: str | None = None) -> Fault:
    """Refused before anything was executed."""
    return Fault("refused", Executes.NEVER, build_error(code, status, msg))


def reset_before() -> Fault:
    return Fault("reset_before", Executes.NEVER, Loss.RESET)


def reset_after() -> Fault:
    """Executed, and the reply is lost with the connection."""
    return Fault("reset_after", Executes.NOW, Loss.RESET)


def hang_before() -> Fault:
    return Fault("hang_before", Executes.NEVER, Loss.HANG)


def hang_after() -> Fault:
    """Executed, and no reply ever comes."""
    return Fault("hang_after", Executes.NOW, Loss.HANG)


def delayed(*, before_s: float = 0.0, after_s: float = 0.0) -> Fault:
    """Held up inside the exchange, before or after execution; before, the time window is checked again."""
    return Fault("delayed", delay_before_s=before_s, delay_after_s=after_s)


def unknown_503(executes: Executes) -> Fault:
    """The 503 that says nothing of the outcome."""
    return Fault("unknown_503", executes, Answer(503, UNKNOWN_ERROR, gateway=True))


def unavailable_503() -> Fault:
    """The 503 of a service that is not there: not executed."""
    return Fault("unavailable_503", Executes.NEVER, Answer(503, UNAVAILABLE, gateway=True))


def overloaded_503() -> Fault:
    """-1008: not executed, but orders that only reduce are let through."""
    return Fault("overloaded_503", Executes.NEVER, build_error(-1008), spares_reducing=True)


def internal_503(executes: Executes = Executes.NEVER) -> Fault:
    """-1001, documented as failed."""
    return Fault("internal_503", executes, build_error(-1001, 503))


def timeout_408(executes: Executes) -> Fault:
    """-1007: the outcome is unknown."""
    return Fault("timeout_408", executes, build_error(-1007))


def unexpected_response(executes: Executes) -> Fault:
    """-1006: the outcome is unknown."""
    return Fault("unexpected_response", executes, build_error(-1006))


def stale_timestamp() -> Fault:
    return refused(-1021)


def throttled(retry_after_s: float) -> Fault:
    """429 with Retry-After from this call on; calls that do not stop are banned with 418."""
    return Fault("throttled", throttle_s=retry_after_s)


def html_page(executes: Executes, status: int = 502) -> Fault:
    """A page of some machine in front of the exchange."""
    page = HTML_PAGE.format({403: "403 Forbidden", 502: "502 Bad Gateway"}.get(status, str(status)))
    return Fault("html_page", executes, Answer(status, page, HTML_TYPE))


def malformed_json(executes: Executes = Executes.NOW) -> Fault:
    return Fault("malformed_json", executes, Answer(200, '{"orderId": 199033'))


def empty_body(executes: Executes = Executes.NOW) -> Fault:
    return Fault("empty_body", executes, Answer(200, ""))


def code_in_200(code: int, executes: Executes = Executes.NEVER) -> Fault:
    """An error body under a status that says success."""
    return Fault("code_in_200", executes, build_error(code, 200))


def partial_fill(ratio: Decimal) -> Fault:
    """Only this part of the quantity is to be had."""
    return Fault("partial_fill", fill_ratio=ratio)


def executed_late(late_s: float, seen: Fault) -> Fault:
    """Answered as ``seen`` is, and carried out that much later, if its time window still allows it."""
    return replace(seen, name=f"late_{seen.name}", executes=Executes.LATE, late_s=late_s)


def hidden_order(seconds: float) -> Fault:
    """Executed and answered, but no query finds the order for a while."""
    return Fault("hidden_order", hidden_s=seconds)


@dataclass(frozen=True, slots=True)
class FaultRule:
    """Binds a fault to calls: the ``nth`` that matches, and ``times`` in a row from there, None for ever.

    ``path`` matches by its end, so ``/order`` is enough.
    """

    fault: Fault
    method: str | None = None
    path: str | None = None
    symbol: str | None = None
    nth: int = 1
    times: int | None = 1

    def check_matches(self, request: ApiRequest, params: Params) -> bool:
        return (
            self.method in (None, request.method)
            and (self.path is None or request.path.endswith(self.path))
            and self.symbol in (None, params.get("symbol"))
            and not (self.fault.spares_reducing and check_reduces(params))
        )

    def check_active(self, count: int) -> bool:
        return count >= self.nth and (self.times is None or count < self.nth + self.times)


def check_reduces(params: Params) -> bool:
    closes = (params.get("side"), params.get("positionSide")) in (("SELL", "LONG"), ("BUY", "SHORT"))
    return params.get("reduceOnly") == "true" or closes


class FaultPlan:
    """The rules in force, of which the first active one that matches decides, and the faults already ``taken``."""

    def __init__(self) -> None:
        self.taken: list[Fault] = []
        self._counts: dict[int, int] = {}
        self._rules: list[FaultRule] = []

    def add(self, *rules: FaultRule) -> None:
        self._rules += rules

    def clear(self) -> None:
        self._rules, self._counts = [], {}

    def take(self, request: ApiRequest) -> Fault | None:
        """Count a call against every rule that matches it, and give its fault."""
        params = parse_leniently(request.query, request.body)
        chosen: Fault | None = None
        for index, rule in enumerate(self._rules):
            if not rule.check_matches(request, params):
                continue
            self._counts[index] = self._counts.get(index, 0) + 1
            if chosen is None and rule.check_active(self._counts[index]):
                chosen = rule.fault
                self.taken.append(chosen)
        return chosen
