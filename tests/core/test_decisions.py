"""The words of decisions, by which logs, metrics and the API know them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dehedge.core.decisions import CloseHedge, Hold, OpenHedge, Reason, RefreshHedge, ResizeHedge
from dehedge.core.model import Side
from dehedge.core.orders import Action
from tests.core.builders import a_key, a_share


def test_reasons_are_called_what_logs_and_the_api_call_them() -> None:
    assert [reason for reason in Reason if reason != reason.name.lower()] == [Reason.INCOMPLETE]
    assert Reason.INCOMPLETE == "incomplete_fill"


@pytest.mark.parametrize(
    ("kind", "action"),
    [(OpenHedge, Action.INCREASE), (ResizeHedge, Action.INCREASE), (CloseHedge, Action.REDUCE)],
)
def test_trade_tells_what_its_order_does(kind: type[OpenHedge | ResizeHedge | CloseHedge], action: Action) -> None:
    trade = kind(a_key(), Reason.AT_RISK, "BTCUSDT", Side.BUY, a_share())

    assert (trade.action, trade.assessment, trade.share.quantity) == (action, None, Decimal("0.2"))


@pytest.mark.parametrize("kind", [Hold, RefreshHedge])
def test_decision_without_a_trade_can_be_without_an_assessment(kind: type[Hold | RefreshHedge]) -> None:
    assert kind(a_key(), Reason.IN_FLIGHT).assessment is None
