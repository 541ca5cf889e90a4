"""What is kept beside the book never ends what hedges."""

from __future__ import annotations

from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from dehedge.chronicle import Chronicle
from dehedge.core.earnings import Earnings
from dehedge.core.receipts import Receipts
from tests.kit import Engine, World, a_position

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize(("kind", "name"), [(Receipts, "receipts"), (Chronicle, "chronicle"), (Earnings, "earnings")])
async def test_hedging_and_the_next_start_go_on_when_a_record_cannot_take_a_fact(
    monkeypatch: pytest.MonkeyPatch, kind: type, name: str
):
    def fail(*_: object) -> None:
        raise ArithmeticError("a mistake")

    monkeypatch.setattr(kind, "note", fail)
    world = World()
    world.put(a_position())
    with capture_logs() as lines:
        engine = Engine(world)
        await engine.start()
        await engine.run_for(5)
        await engine.die()

    assert engine.held(a_position()) == Decimal("0.166")
    assert [line["record"] for line in lines if line["event"] == "record_failed"] == [name]

    again = Engine(world)
    world.remove(a_position())
    await again.start()
    await again.run_for(10)
    assert again.held(a_position()) == 0
    await again.die()
