"""What a policy's name sets, and which settings count in it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from dehedge.replay.choices import build_choice, list_lines
from dehedge.replay.engine import run_policy
from dehedge.replay.model import Figures
from tests.replay.builders import FREE, a_history, a_trader, choose
from tests.replay.test_engine import RISE


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("delta", ["RISK_SCOPE=position", "HEDGE_SIZING=delta"]),
        ("portfolio:early=0.50:step=0.25", ["RISK_SCOPE=portfolio", "PORTFOLIO_EARLY=0.5", "PORTFOLIO_STEP=0.25"]),
        ("delta:expiry=300:gate=0.1", ["RISK_SCOPE=position", "HEDGE_SIZING=delta", "HEDGE_EXPIRY_SECONDS=300"]),
        ("portfolio:expiry=300", ["RISK_SCOPE=portfolio"]), ("notional:scope=portfolio:lead=1", ["RISK_SCOPE=portfolio", "PORTFOLIO_LEAD_SECONDS=1"]),
    ],
)  # fmt: skip
def test_lines_are_what_makes_a_daemon_decide_so(name: str, lines: list[str], monkeypatch: pytest.MonkeyPatch):
    assert list_lines(name) == lines

    # An operator who pastes them has that policy, whatever was set before.
    monkeypatch.setenv("RISK_SCOPE", "portfolio")
    for line in lines:
        monkeypatch.setenv(*line.split("="))
    pasted = build_choice("portfolio" if "RISK_SCOPE=portfolio" in lines else f"delta:sizing={dict(each.split('=') for each in lines)['HEDGE_SIZING']}", {})
    assert pasted.settings == build_choice(name, {}).settings


def test_specified_rule_is_that_of_each_position_whatever_the_operator_has_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RISK_SCOPE", "portfolio")

    assert [build_choice(name, {}).hedging.portfolio is None for name in ("notional", "delta", "ideal", "portfolio")] == [True, True, True, False]


def test_settings_tell_what_counts_and_no_more():
    delta, portfolio, none = (build_choice(name, {}).settings for name in ("delta", "portfolio", "none"))

    assert none == {}
    assert {"HEDGE_SIZING", "HEDGE_EXPIRY_SECONDS"} == delta.keys() - portfolio.keys()
    assert {"EARLY", "LEAD_SECONDS", "GATE", "SLACK", "STEP"} == {name.removeprefix("PORTFOLIO_") for name in portfolio.keys() - delta.keys()}
    assert "TAKER_FEE_BPS" not in delta
    assert build_choice("delta:max_fees_usd_per_hour=5", {}).settings["TAKER_FEE_BPS"] == "5"


def play(name: str) -> Figures:
    history = a_history([RISE], [a_trader(number, is_long=number % 4 != 0) for number in range(1, 30)], shield_usd=100)
    return run_policy(history, replace(FREE, taker_fee=Decimal("0.0005")), choose(name)).figures


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        ("portfolio:gate=0.001", ("expiry=1", "expiry=3000", "sizing=notional", "max_divergence_bps=1")),
        ("delta", ("early=3", "lead=9", "gate=1", "slack=1", "step=0.1", "max_divergence_bps=1", "taker_fee_bps=50")),
    ],
)
def test_what_is_said_not_to_count_changes_nothing(policy: str, changes: tuple[str, ...]):
    plain = play(policy)

    assert plain.opens > 0
    assert all(play(f"{policy}:{change}") == plain for change in changes)
