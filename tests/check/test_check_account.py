"""What the check says of the key, the clock, the modes, the tiers and the margin of the account."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from dehedge.check.account import RealAccount
from dehedge.check.report import Status
from dehedge.config import BINANCE_URLS
from dehedge.connectors.binance import BinanceConnector
from dehedge.connectors.binance.rows import MalformedPayload
from dehedge.connectors.binance.standing import parse_brackets
from dehedge.connectors.paper import PaperConnector
from dehedge.ports import LeverageBracket
from dehedge.sim.exchange import Ask, ExchangeSettings, SimExchange
from dehedge.sim.exchange.faults import Answer, Executes, Fault, FaultRule, build_error
from dehedge.sim.world import World, build_position
from tests.check.kit import Check, list_failed


async def put_traders(world: World, size_usd: int) -> None:
    """Two who win where prices rise, and one where they fall."""
    await world.chain.put(
        build_position(0xA2, "BTC-USD", is_long=True, size_usd=size_usd, price=Decimal(60_000)),
        build_position(0xA3, "ETH-USD", is_long=True, size_usd=size_usd, price=Decimal(3_000)),
        build_position(0xA4, "ETH-USD", is_long=False, size_usd=size_usd, price=Decimal(3_000)),
    )


@pytest.mark.parametrize(
    ("allowed", "name", "detail"),
    [
        ({"withdraws": True}, "key withdrawal", "the key may withdraw"),
        ({"trades": False}, "key futures", "the key has no futures permission"),
        ({"bound": False}, "key addresses", "the key works from any address"),
    ],
)
async def test_key_that_may_do_too_much_or_too_little_is_a_warning(
    world: World, check: Check, allowed: dict[str, bool], name: str, detail: str
):
    world.exchange.set_key(**allowed)

    lines = await check()

    assert list_failed(lines) == []
    assert lines[name].status is Status.WARN
    assert lines[name].detail.startswith(detail)
    assert lines[name].remedy == "change it on the exchange, under API management"


@pytest.mark.parametrize(
    "answer",
    [Answer(404, "<html>not here</html>", "text/html"), build_error(-2015), build_error(-1003), Answer(200, "{}")],
)
async def test_exchange_that_does_not_tell_what_the_key_may_do_is_no_failure(
    world: World, check: Check, answer: Answer
):
    fault = Fault("absent", Executes.NEVER, answer)
    world.exchange.faults.add(FaultRule(fault, path="/apiRestrictions", times=None))

    lines = await check()

    assert list_failed(lines) == []
    assert lines["key permissions"].status is Status.WARN
    assert lines["key permissions"].detail.startswith("not known: ")
    assert lines["balance"].status is Status.PASS


async def test_demo_does_not_tell_what_the_key_may_do(world: World):
    connector = BinanceConnector(
        api_key="k", api_secret="s", rest_url=world.exchange.url, ws_url=world.exchange.ws_url, leverage=20,
        margin_type="ISOLATED", clock=None, spot_url=BINANCE_URLS["demo"][2],
    )  # fmt: skip

    assert await connector.standing.fetch_permissions() is None
    assert isinstance(connector, RealAccount)
    assert not isinstance(PaperConnector.__new__(PaperConnector), RealAccount)


async def test_key_is_asked_about_on_no_other_host_than_the_one_given(world: World, check: Check):
    await check()

    assert "/sapi/v1/account/apiRestrictions" in {request.path for request in world.exchange.requests}


@pytest.mark.parametrize(("ahead_s", "status"), [(0.0, Status.PASS), (30.0, Status.WARN), (-30.0, Status.WARN)])
async def test_clock_that_is_far_off_is_a_warning(world: World, check: Check, ahead_s: float, status: Status):
    await world.exchange.stop()
    world.exchange = SimExchange(ExchangeSettings(), clock=lambda: time.time() + ahead_s)
    await world.exchange.start()

    line = (await check())["clock"]

    assert line.status is status
    if status is Status.WARN:
        assert ("ahead" if ahead_s > 0 else "behind") in line.detail
        assert "NTP" in line.remedy


async def test_settings_of_a_symbol_that_differ_are_a_warning(world: World, check: Check):
    world.exchange.set_isolated("BTCUSDT", isolated=True)
    world.exchange.set_leverage("BTCUSDT", 10)
    world.exchange.set_isolated("ETHUSDT", isolated=True)

    lines = await check()

    assert lines["ETHUSDT leverage"].status is Status.PASS
    assert lines["BTCUSDT leverage"].status is Status.WARN
    assert lines["BTCUSDT leverage"].detail == "10x ISOLATED: the daemon will set 20x ISOLATED"


async def test_multi_assets_mode_is_told(check: Check, world: World):
    await world.exchange.stop()
    world.exchange = SimExchange(ExchangeSettings(multi_assets=True))
    await world.exchange.start()

    lines = await check(MARGIN_TYPE="CROSSED")

    assert lines["margin mode"].detail == "multi-assets mode, all assets are margin"


async def test_leverage_above_the_highest_tier_fails_with_what_is_allowed(
    check: Check, monkeypatch: pytest.MonkeyPatch
):
    async def fetch(_: object, symbol: str) -> list[LeverageBracket]:
        most = 15 if symbol == "ETHUSDT" else 50
        return [LeverageBracket(most, Decimal(5_000)), LeverageBracket(10, Decimal(100_000))]

    monkeypatch.setattr("dehedge.connectors.binance.standing.Standing.fetch_brackets", fetch)
    lines = await check()

    assert list_failed(lines) == ["ETHUSDT brackets"]
    assert lines["ETHUSDT brackets"].detail == "LEVERAGE=20 is refused: 15x at most"
    assert lines["ETHUSDT brackets"].remedy == "set LEVERAGE=15 or less"
    assert lines["BTCUSDT brackets"].detail == "up to 50x; 5,000 of notional at most at 20x"


async def test_limit_above_what_the_tiers_allow_is_a_warning(check: Check):
    line = (await check(MAX_MARKET_NOTIONAL_USD="70000000"))["ETHUSDT brackets"]

    assert line.status is Status.WARN
    assert line.detail == "65,000,000 of notional at most at 20x, less than MAX_MARKET_NOTIONAL_USD"


async def test_account_that_stops_answering_fails_line_by_line(world: World, check: Check):
    fault = Fault("gone", Executes.NEVER, build_error(-1000, 500))
    for path in ("/balance", "/positionRisk", "/leverageBracket"):
        world.exchange.faults.add(FaultRule(fault, path=path, times=None))

    lines = await check()

    assert sorted(list_failed(lines)) == ["BTCUSDT leverage", "ETHUSDT leverage", "balance and positions"]
    assert {lines[name].remedy for name in list_failed(lines)} == {"try again"}
    assert lines["margin for a move of 10 %"].detail == "not tried: it takes a snapshot, prices and the account"


async def test_margin_for_a_move_is_that_of_the_worse_way(world: World, check: Check):
    await put_traders(world, 60_000)

    line = (await check())["margin for a move of 10 %"]

    # Up by a tenth both longs win 6,000: 1 BTC at 66,000 and 20 ETH at 3,300, at a leverage of 20, and 5 bps of fees.
    assert line.status is Status.PASS
    assert line.detail == "up, 2 hedges would be opened: they need 6,666.00 of 100,000.00 available"


async def test_margin_that_is_short_is_a_warning_with_what_to_add(world: World, check: Check):
    await put_traders(world, 60_000)
    await world.exchange.stop()
    world.exchange = SimExchange(ExchangeSettings(marks=world.exchange.settings.marks, balance=Decimal(5_000)))
    await world.exchange.start()

    line = (await check())["margin for a move of 10 %"]

    assert line.status is Status.WARN
    assert line.detail == "up, 2 hedges would be opened: they need 6,666.00 of 5,000.00 available"
    assert line.remedy == "add 1,666.00 to the futures account, or raise LEVERAGE"


async def test_limit_that_would_refuse_a_hedge_is_a_warning(world: World, check: Check):
    await put_traders(world, 60_000)

    line = (await check(MAX_MARKET_NOTIONAL_USD="10"))["refused at a move of 10 %"]

    assert line.status is Status.WARN
    assert line.detail.startswith("2 hedges: ")
    assert "MAX_MARKET_NOTIONAL_USD" in line.detail


async def test_limits_are_told_that_would_hold_hedges_the_other_way_than_the_one_that_needs_more_margin(
    world: World, check: Check
):
    await put_traders(world, 60_000)
    await world.chain.put(build_position(0xA5, "ETH-USD", is_long=False, size_usd=200_000, price=Decimal(3_000)))

    lines = await check(MAX_MARKET_NOTIONAL_USD="100000")

    # Up both longs are hedged whole, for 6,666. Down one short gets 100,000 of 180,000, and the other nothing.
    assert lines["margin for a move of 10 %"].detail.startswith("up, 2 hedges would be opened: they need 6,666.00")
    assert lines["refused at a move of 10 %"].detail.startswith("1 hedge: ")
    assert lines["limits at a move of 10 %"].detail == "1 hedge would be smaller than asked for"


async def test_limit_that_would_cut_a_hedge_is_a_warning(world: World, check: Check):
    await put_traders(world, 60_000)

    line = (await check(MAX_MARKET_NOTIONAL_USD="1000"))["limits at a move of 10 %"]

    assert (line.status, line.detail) == (Status.WARN, "2 hedges would be smaller than asked for")


async def test_position_that_the_exchange_would_close_at_a_move_is_a_warning(world: World, check: Check):
    world.exchange.ledger.account.get_settings("BTCUSDT").isolated = True
    world.exchange.ledger.place(Ask("BTCUSDT", "BUY", Decimal("0.1")))

    line = (await check())["liquidation at a move of 10 %"]

    assert line.status is Status.WARN
    assert line.detail.startswith("the exchange closes 0.100 BTCUSDT at ")


async def test_margin_is_none_when_nobody_would_win_more_than_the_shield(check: Check):
    assert (await check())["margin for a move of 10 %"].detail == "no hedge would be opened, whichever way"


async def test_price_that_is_far_from_the_mark_is_a_warning(world: World, check: Check):
    world.exchange.set_mark("ETHUSDT", Decimal(3_300))

    line = (await check())["price of ETH-USD"]

    assert line.status is Status.WARN
    assert line.detail == "909 bps from the mark of ETHUSDT: nothing is opened"
    assert "MAX_DIVERGENCE_BPS" in line.remedy


TIER = {"bracket": 1, "initialLeverage": 75, "notionalCap": 10000}


@pytest.mark.parametrize(
    "payload", [[{"symbol": "BTCUSDT", "brackets": [TIER]}], {"symbol": "BTCUSDT", "brackets": [TIER]}]
)
def test_brackets_are_read_from_a_list_and_from_an_object(payload: object):
    assert parse_brackets("BTCUSDT", payload) == [LeverageBracket(75, Decimal(10_000))]


@pytest.mark.parametrize("payload", [[], {}, "", [{"symbol": "ETHUSDT", "brackets": [TIER]}], [{"symbol": "BTCUSDT"}]])
def test_brackets_that_are_none_are_malformed(payload: object):
    with pytest.raises(MalformedPayload):
        parse_brackets("BTCUSDT", payload)
