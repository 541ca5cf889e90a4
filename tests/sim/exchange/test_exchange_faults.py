"""The fault plan: which call a rule binds to."""

from decimal import Decimal

from dehedge.sim.exchange import Executes, FaultPlan, FaultRule, faults
from dehedge.sim.exchange.auth import ApiRequest


def an_order(symbol: str = "BTCUSDT", others: str = "") -> ApiRequest:
    return ApiRequest("POST", "/fapi/v1/order", "", f"symbol={symbol}&side=SELL{others}")


def names(plan: FaultPlan, *requests: ApiRequest) -> list[str]:
    taken = [plan.take(request) for request in requests]
    return [fault.name if fault else "" for fault in taken]


def test_rule_binds_to_the_nth_match_and_so_many_after_it():
    plan = FaultPlan()
    plan.add(FaultRule(faults.reset_after(), nth=2, times=2))

    assert names(plan, *[an_order()] * 5) == ["", "reset_after", "reset_after", "", ""]


def test_rule_lasts_for_ever_when_times_is_none():
    plan = FaultPlan()
    plan.add(FaultRule(faults.reset_after(), times=None))

    assert names(plan, *[an_order()] * 3) == ["reset_after"] * 3


def test_rule_counts_only_what_it_matches():
    plan = FaultPlan()
    plan.add(FaultRule(faults.reset_after(), method="POST", path="/order", symbol="ETHUSDT"))

    others = [an_order("BTCUSDT"), ApiRequest("GET", "/fapi/v1/order", "symbol=ETHUSDT"), ApiRequest("POST", "/x")]
    assert names(plan, *others, an_order("ETHUSDT")) == ["", "", "", "reset_after"]


def test_first_rule_wins_and_the_second_still_counts():
    plan = FaultPlan()
    plan.add(FaultRule(faults.reset_after()), FaultRule(faults.hang_after(), nth=2))

    assert names(plan, *[an_order()] * 3) == ["reset_after", "hang_after", ""]


def test_cleared_plan_does_nothing():
    plan = FaultPlan()
    plan.add(FaultRule(faults.reset_after(), times=None))
    plan.clear()

    assert names(plan, an_order()) == [""]


def test_overload_spares_what_only_reduces():
    plan = FaultPlan()
    plan.add(FaultRule(faults.overloaded_503(), times=None))

    spared = [an_order(others="&reduceOnly=true"), an_order(others="&positionSide=LONG")]
    assert names(plan, *spared, an_order(others="&positionSide=SHORT")) == ["", "", "overloaded_503"]


def test_late_execution_keeps_what_is_seen():
    late = faults.executed_late(1.5, faults.timeout_408(Executes.NEVER))

    assert (late.executes, late.late_s) == (Executes.LATE, 1.5)
    assert late.answer == faults.timeout_408(Executes.NOW).answer


def test_partial_fill_executes_in_truth():
    fault = faults.partial_fill(Decimal("0.4"))

    assert (fault.executes, fault.answer, fault.fill_ratio) == (Executes.NOW, None, Decimal("0.4"))
