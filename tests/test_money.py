"""The daemon's own figures against the exchange's wallet: what the journal adds up to is what the account has more or less."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from dehedge.adapters.pass_rows import PassRow, decode_pass, encode_decisions, encode_pass
from dehedge.core.decisions import Decision
from dehedge.core.flows import add_up, build_fill_flows
from dehedge.core.guards import GuardLimits
from dehedge.core.passes import PassView, run_again
from dehedge.core.report import Report, build_report
from dehedge.reporting.reading import read_records
from tests.kit import EPOCH, Engine, Venue, World, a_policy, a_position

pytestmark = pytest.mark.looptime

UNIT = 10**6


def report_on(world: World) -> Report:
    return build_report(read_records(world.journal.read()), EPOCH - 1, EPOCH + 10**6, asset_unit=UNIT)


def get_wallet_change(world: World) -> Decimal:
    account = world.venue.ledger.account
    return account.wallet - account.opening_balance


@pytest.mark.parametrize("hedge_mode", [False, True], ids=["one-way", "hedge-mode"])
async def test_net_profit_is_what_the_wallet_gained_when_all_is_closed(hedge_mode):
    world = World(Venue(hedge_mode=hedge_mode))
    long, short = a_position(), a_position(2, is_long=False, entry=63_000)
    world.put(long, short)
    engine = Engine(world, a_policy(max_price_age_s=5))
    await engine.start()
    await engine.run_for(5)
    world.set_price("BTC-USD", 59_500)
    world.put(a_position(size_usd=25_000))
    await engine.run_for(10)
    world.venue.pay_funding("BTCUSDT", "0.0003")
    world.venue.script.append("partial")
    world.put(a_position(3, market="ETH-USD", entry=2_500))
    engine.bookkeeper._funding_due = 0.0
    await engine.run_for(15)
    world.set_price("BTC-USD", 61_000)
    for position in (long, short, a_position(3, market="ETH-USD", entry=2_500)):
        world.remove(position)
    await engine.run_for(60)
    await engine.die()

    report = report_on(world)
    assert world.venue.ledger.account.get_open_positions() == []
    assert report.sums.estimates == 0
    assert report.sums.net_usd == get_wallet_change(world)
    assert report.sums.fees_usd == sum(fill.commission for fill in world.venue.ledger.fills)
    funding = sum(income.amount for income in world.venue.ledger.account.incomes if income.kind == "FUNDING_FEE")
    assert report.sums.funding_usd == funding != 0
    assert (report.sums.opened, report.sums.closed) == (3, 3)


async def test_vault_would_have_lost_what_the_trader_gained():
    world = World()
    world.put(a_position(entry=57_000))
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    world.set_price("BTC-USD", 63_000)
    await engine.run_for(5)
    world.remove(a_position())
    await engine.run_for(30)
    await engine.die()

    (market,) = report_on(world).markets
    (hedge,) = market.hedges
    assert hedge.sums.trader_gain_usd == (Decimal(10_000) / 57_000 * 3_000).quantize(Decimal("1e-10"))
    assert [fill.reason for fill in hedge.life.fills][-1] == "position_closed"
    assert add_up(flow.sums for flow in build_fill_flows(hedge.life, UNIT)) == hedge.sums


class Keeper:
    """Implements ``ports.PassRecorder``; keeps every pass."""

    def __init__(self) -> None:
        self.rows: list[PassRow] = []

    def check_wanted(self, *, is_trading: bool) -> bool:
        return True

    def note(self, view: PassView, outcomes: Sequence[Decision]) -> None:
        self.rows.append(decode_pass(encode_pass(view, outcomes)))


async def test_every_pass_of_a_life_runs_again_to_the_same_decisions():
    world, keeper = World(), Keeper()
    world.put(a_position(), a_position(2, is_long=False, entry=63_000))
    engine = Engine(world, limits=GuardLimits(opens_per_hour=1))
    engine.reconciler._recorder = keeper
    await engine.start()
    await engine.run_for(10)
    world.set_price("BTC-USD", 56_000)
    await engine.run_for(70)
    world.set_price("BTC-USD", 60_000)
    await engine.run_for(5)
    world.remove(a_position(2, is_long=False, entry=63_000))
    await engine.run_for(10)
    await engine.die()

    kinds = {kind for row in keeper.rows for kind, _ in row.decisions}
    assert kinds == {"OpenHedge", "CloseHedge", "RefreshHedge", "Hold"}
    assert any(row.held for row in keeper.rows)
    assert [encode_decisions(run_again(row.recorded)) for row in keeper.rows] == [row.decisions for row in keeper.rows]


async def test_liquidation_is_in_the_figures_with_its_price_and_fee():
    world = World()
    world.put(a_position())
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    world.venue.set_mark("BTCUSDT", Decimal(57_500))
    world.prices["BTC-USD"] = 57_000
    world.venue.force("BTCUSDT", "0.166")
    engine.auditor.request()
    await engine.run_for(90)
    await engine.die()

    assert world.venue.ledger.account.get_open_positions() == []
    assert report_on(world).sums.net_usd == get_wallet_change(world) < 0
