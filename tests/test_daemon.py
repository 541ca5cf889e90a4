"""The whole daemon as an operator runs it: a process, a chain, a price service and an exchange over real sockets.

Judged from the exchange's own ledger.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import httpx
import pytest
from aiohttp import web

from dehedge.adapters import journal
from dehedge.config import read_settings
from dehedge.core.invariants import Breach, Law
from dehedge.daemon import FLUSH_S, Daemon
from dehedge.sim.chain import SimRpc, find_anvil
from dehedge.sim.exchange import Ask
from dehedge.sim.world import HTTP_TOKEN, USD, DaemonProcess, World, build_position, wait_until

pytestmark = pytest.mark.timeout(120)

PRICES = {"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}
CHAINS = [pytest.param(True, marks=pytest.mark.anvil, id="anvil"), pytest.param(False, id="in-process")]
TARGET = Decimal("0.166")
KEPT_IN_TOUCH = {"/fapi/v1/time", "/fapi/v1/premiumIndex", "/fapi/v3/positionRisk", "/fapi/v1/allOrders"}
"""What is read from time to time whatever happens."""
VARIABLES = {
    "HEDGE_SIZING": "notional", "HEDGE_EXPIRY_SECONDS": "2", "POLL_INTERVAL_SECONDS": "0.3",
    "PRICE_INTERVAL_SECONDS": "0.3",
}  # fmt: skip


def a_long(user: int = 1, size_usd: int = 10_000):
    return build_position(user, "BTC-USD", is_long=True, size_usd=size_usd, price=Decimal(57_000))


def a_short(user: int = 2, size_usd: int = 6_000):
    return build_position(user, "BTC-USD", is_long=False, size_usd=size_usd, price=Decimal(63_000))


@asynccontextmanager
async def a_world(tmp_path, *, use_anvil=False, hedge_mode=False, shield=20, **environment):
    if use_anvil and find_anvil() is None:
        pytest.skip("no anvil on this machine: make tools")
    world = World(PRICES, use_anvil=use_anvil, hedge_mode=hedge_mode)
    daemon = None
    try:
        await world.start()
        await world.chain.set_vault(100_000 * USD)
        await world.chain.set_shield(shield * USD)
        daemon = DaemonProcess(tmp_path, world.build_environment(**{**VARIABLES, **environment}))
        yield world, daemon
    finally:
        if daemon is not None:
            await daemon.close()
        await world.stop()


async def net_becomes(world, daemon, quantity, symbol="BTCUSDT"):
    async def check():
        return world.exchange.net(symbol) == quantity and await book_agrees(daemon, quantity, symbol)

    await wait_until(check, f"{quantity} {symbol}, have {world.exchange.net(symbol)}", 30)


async def book_agrees(daemon, quantity, symbol):
    answer = await daemon.fetch("/api/v1/hedges")
    if answer is None:
        return False
    rows = [row for row in answer["hedges"] if row["symbol"] == symbol]
    held = sum(Decimal(row["quantity"]) * (1 if row["side"] == "BUY" else -1) for row in rows)
    return held == quantity and all(row["status"] == "OPEN" for row in rows)


@pytest.mark.parametrize("use_anvil", CHAINS)
async def test_daemon_opens_resizes_keeps_expires_vanishes_and_survives_kill_9(tmp_path, use_anvil):
    async with a_world(tmp_path, use_anvil=use_anvil) as (world, daemon):
        await world.chain.put(a_long())
        await daemon.start()
        await net_becomes(world, daemon, TARGET)

        await daemon.kill()
        await daemon.start()
        await wait_until(daemon.check_ready, "the daemon to be ready")
        await net_becomes(world, daemon, TARGET)
        assert len(world.exchange.orders) == 1

        await world.chain.put(a_long(size_usd=25_000))
        await net_becomes(world, daemon, Decimal("0.416"))

        world.set_price("BTC-USD", Decimal(57_000))
        await net_becomes(world, daemon, Decimal(0))

        world.set_price("BTC-USD", Decimal(60_000))
        await net_becomes(world, daemon, Decimal("0.416"))
        await world.chain.remove(a_long().key)
        await net_becomes(world, daemon, Decimal(0))

        assert [order.side for order in world.exchange.orders] == ["BUY", "BUY", "SELL", "BUY", "SELL"]
        assert len({order.client_id for order in world.exchange.orders}) == 5
        assert all(amount >= 0 for _, amount in world.exchange.net_over_time("BTCUSDT"))


@pytest.mark.parametrize("hedge_mode", [False, True], ids=["one-way", "hedge-mode"])
async def test_daemon_holds_the_right_net_at_each_step_when_hedges_are_opposite(tmp_path, hedge_mode):
    async with a_world(tmp_path, hedge_mode=hedge_mode) as (world, daemon):
        await daemon.start()
        await world.chain.put(a_long())
        await net_becomes(world, daemon, TARGET)
        await world.chain.put(a_short())
        await net_becomes(world, daemon, TARGET - Decimal("0.1"))
        await world.chain.remove(a_long().key)
        await net_becomes(world, daemon, Decimal("-0.1"))
        await world.chain.remove(a_short().key)
        await net_becomes(world, daemon, Decimal(0))

        assert not world.exchange.positions()
        assert len(world.exchange.orders) == 4


async def test_daemon_keeps_its_hedge_when_one_of_two_nodes_loses_every_position(tmp_path):
    async with a_world(tmp_path) as (world, _):
        liar = SimRpc(world.chain.state, auto_mine=True)
        await liar.start()
        environment = world.build_environment(NETWORKS=f"{liar.url},{world.chain.url}", **VARIABLES)
        daemon = DaemonProcess(tmp_path, environment)
        try:
            await world.chain.put(a_long())
            await daemon.start()
            await net_becomes(world, daemon, TARGET)

            liar.faults.hides_positions = True
            asked = liar.http_count

            async def has_lied_for_a_while():
                return liar.http_count > asked + 40

            await wait_until(has_lied_for_a_while, "the daemon to ask the node that lies", 30)
            await net_becomes(world, daemon, TARGET)
            assert len(world.exchange.orders) == 1
            assert daemon.log_text.count("snapshots_disagreed") == 1

            liar.faults.clear()
            await world.chain.remove(a_long().key)
            await net_becomes(world, daemon, Decimal(0))
            assert len(world.exchange.orders) == 2
        finally:
            await daemon.close()
            await liar.stop()


@pytest.mark.parametrize("use_anvil", CHAINS)
async def test_daemon_hedges_long_before_the_next_poll_when_a_websocket_tells_of_the_block(tmp_path, use_anvil):
    async with a_world(tmp_path, use_anvil=use_anvil) as (world, _):
        variables = {**VARIABLES, "POLL_INTERVAL_SECONDS": "600", "MAX_SNAPSHOT_AGE_SECONDS": "900"}
        node = world.chain.url.replace("http", "ws")
        daemon = DaemonProcess(tmp_path, world.build_environment(NETWORKS_WS=node, **variables))
        try:
            await daemon.start()

            async def has_subscribed():
                # Anvil makes a block each second, the other one only when something happens.
                return use_anvil or len(world.chain.rpc.subscriptions.requests) == 1

            await wait_until(has_subscribed, "the daemon to subscribe", 30)
            await world.chain.put(a_long())
            await net_becomes(world, daemon, TARGET)
            await world.chain.remove(a_long().key)
            await net_becomes(world, daemon, Decimal(0))
        finally:
            await daemon.close()


@pytest.mark.parametrize("use_anvil", CHAINS)
async def test_daemon_sees_all_of_2500_positions(tmp_path, use_anvil):
    async with a_world(tmp_path, use_anvil=use_anvil) as (world, daemon):
        at = {0: 1, 499: 2, 500: 3, 999: 4, 1000: 5, 1999: 6, 2499: 7}
        quiet = build_position(1, "BTC-USD", is_long=True, size_usd=5_000, price=Decimal(61_000))
        positions = [
            a_long(index + 1, 3_000 + at[index]) if index in at else replace(quiet, user=f"0x{index + 1:040x}")
            for index in range(2_500)
        ]
        await world.chain.put(*positions)
        await daemon.start()

        await net_becomes(world, daemon, 7 * Decimal("0.050"))

        pages = [await daemon.fetch(f"/api/v1/positions?offset={offset}") for offset in (0, 1_000, 2_000, 3_000)]
        rows = [row for page in pages for row in page["positions"]]
        assert len({row["position_id"] for row in rows}) == len(rows) == 2_500
        assert sum(row["at_risk"] for row in rows) == 7


async def test_daemon_hedges_by_the_traders_own_quantity_when_sizing_is_delta(tmp_path):
    async with a_world(tmp_path, HEDGE_SIZING="delta") as (world, daemon):
        await world.chain.put(a_long())
        await daemon.start()

        await net_becomes(world, daemon, Decimal("0.175"))


async def test_daemon_sends_nothing_but_the_order_when_it_hedges_for_the_first_time(tmp_path):
    async with a_world(tmp_path) as (world, daemon):
        await daemon.start()
        await wait_until(daemon.check_ready, "the daemon to be ready")
        known = len(world.exchange.api.record.requests)
        await world.chain.put(a_long())

        await net_becomes(world, daemon, TARGET)

        later = world.exchange.api.record.requests[known:]
        assert [request.path for request in later if request.method != "GET"] == ["/fapi/v1/order"]
        order = [request.method for request in later].index("POST")
        assert not {request.path for request in later[:order]} - KEPT_IN_TOUCH


async def test_daemon_closes_in_order_on_sigterm_and_leaves_its_hedges(tmp_path):
    async with a_world(tmp_path) as (world, daemon):
        await world.chain.put(a_long())
        await daemon.start()
        await net_becomes(world, daemon, TARGET)

        assert await daemon.stop() == 0

        assert world.exchange.net("BTCUSDT") == TARGET
        assert "Traceback" not in daemon.log_text


async def test_daemon_shows_positions_in_another_asset_and_does_not_hedge_them(tmp_path):
    async with a_world(tmp_path) as (world, daemon):
        other = replace(a_long(), asset="0x" + "ee" * 20, size=10_000 * 10**18)
        await world.chain.put(other, a_long(3))
        await daemon.start()

        await net_becomes(world, daemon, TARGET)

        rows = (await daemon.fetch("/api/v1/positions"))["positions"]
        assert {row["reason"] for row in rows if row["asset"] != a_long().asset} == {"other_asset"}


async def test_daemon_pauses_resumes_and_flattens_on_command(tmp_path):
    async with a_world(tmp_path) as (world, daemon):
        await daemon.start()
        await wait_until(daemon.check_ready, "the daemon to be ready")
        assert await daemon.post("/api/v1/pause") == 202
        await world.chain.put(a_long())
        rows = {}

        async def is_held_back():
            rows["now"] = (await daemon.fetch("/api/v1/positions"))["positions"]
            return [row["reason"] for row in rows["now"]] == ["trading_paused"]

        await wait_until(is_held_back, "the pause to hold the open", 20)
        assert not world.exchange.orders

        assert await daemon.post("/api/v1/resume") == 202
        await net_becomes(world, daemon, TARGET)
        assert await daemon.post("/api/v1/flatten") == 202
        await net_becomes(world, daemon, Decimal(0))


async def run_command(daemon, *arguments):
    """A command as an operator gives it in another terminal; its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dehedge", *arguments, "--url", daemon.url,
        cwd=daemon.folder, env={**os.environ, "HTTP_TOKEN": HTTP_TOKEN},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_daemon_explains_foresees_and_orders_nothing_by_it(tmp_path):
    async with a_world(tmp_path) as (world, daemon):
        safe = build_position(0xABC, "BTC-USD", is_long=True, size_usd=10_000, price=Decimal(61_000))
        await world.chain.put(a_long(), safe)
        await daemon.start()
        await net_becomes(world, daemon, TARGET)

        code, said = await run_command(daemon, "explain", "BTC-USD", "0x0000000000000000000000000000000000000aBc")
        assert code == 0
        assert "shield_pnl_risk does not fire, 183.93 USDC are missing" in said
        assert "at risk at and above 61,122: it trips where the price rises by 1.87 %" in said
        code, said = await run_command(daemon, "trips", "--json")
        trips = json.loads(said)["trips"]
        assert code == 0
        assert [(trip["trigger_price"], trip["is_at_risk"], trip["is_hedged"]) for trip in trips] == [
            ("61122", False, False), ("57114", True, True),
        ]  # fmt: skip
        code, said = await run_command(daemon, "whatif", "BTC-USD", "+5%", "--json")
        foreseen = json.loads(said)
        assert code == 0
        assert [row["quantity"] for row in foreseen["opens"]] == ["0.158"]
        assert Decimal(foreseen["margin"]["available_usd"]) > 0
        code, said = await run_command(daemon, "whatif", "BTC-USD -20%")
        assert code == 0
        assert "1 position would be liquidated" in said

        assert (await run_command(daemon, "explain", "DOGE-USD", "0xabc"))[0] == 2
        assert len(world.exchange.orders) == 1


async def test_daemon_hedges_many_small_winners_together_and_lets_go_when_they_have_lost_again(tmp_path):
    """Eight longs of 0.01 with a shield of 400: none wins that alone, and all together do at 65,000."""
    together = {"RISK_SCOPE": "portfolio", "PORTFOLIO_GATE": "0", "PORTFOLIO_EARLY": "0", "PORTFOLIO_LEAD_SECONDS": "0"}
    small = [build_position(100 + number, "BTC-USD", is_long=True, size_usd=2_000, price=Decimal(60_000)) for number in range(8)]
    async with a_world(tmp_path, shield=400, **together) as (world, daemon):
        await world.chain.put(*small)
        await daemon.start()
        await wait_until(lambda: knows_all(daemon, "is hedged"), "the daemon to judge all together")
        assert world.exchange.net("BTCUSDT") == 0

        world.set_price("BTC-USD", Decimal(65_000))
        await net_becomes(world, daemon, Decimal("0.264"))
        code, said = await run_command(daemon, "status")
        assert "99.00 % is due" in said
        assert count_orders(world) == 1
        _, said = await run_command(daemon, "explain", "BTC-USD", small[0].user)
        assert "(portfolio_at_risk)" in said
        async with httpx.AsyncClient(base_url=daemon._url) as client:
            metrics = (await client.get("/metrics")).text
        assert "\ndehedge_portfolio_wanted_ratio 0.9" in metrics
        assert "\ndehedge_portfolio_profit_usd 1333." in metrics

        await daemon.kill()
        await daemon.start()
        await wait_until(lambda: knows_all(daemon, "99.00 % is due"), "the level to be that of its hedges")
        await world.chain.remove(small[0].key)
        await net_becomes(world, daemon, Decimal("0.231"))


async def knows_all(daemon, words):
    portfolio = (await daemon.fetch("/api/v1/status"))["portfolio"]
    return portfolio is not None and words in portfolio["text"]


async def test_daemon_stays_halted_over_kill_9_and_flattens_until_the_exchange_confirms_it(tmp_path):
    async with a_world(tmp_path) as (world, daemon):
        await world.chain.put(a_long())
        await daemon.start()
        await net_becomes(world, daemon, TARGET)
        world.exchange.trade_manually(Ask("ETHUSDT", "BUY", Decimal(1)))
        assert await run_command(daemon, "pause", "--level", "halted") == (0, "mode halted\n")
        await daemon.kill()
        await daemon.start()
        assert (await daemon.fetch("/api/v1/status"))["mode"] == "halted"
        await wait_until(lambda: is_recovered(daemon), "the recovery")

        code, output = await run_command(daemon, "flatten", "--yes", "--timeout", "30")

        assert code == 0
        assert output.startswith("flat: the exchange's positions of ")
        assert "ETHUSDT BOTH BUY 1.000 foreign: " in output
        assert world.exchange.net("BTCUSDT") == 0
        assert world.exchange.net("ETHUSDT") == 1
        assert (await daemon.fetch("/api/v1/flat"))["flat"]
        assert await run_command(daemon, "resume") == (0, "mode active\n")
        await net_becomes(world, daemon, TARGET)


async def is_recovered(daemon):
    answer = await daemon.fetch("/api/v1/flat")
    return answer is not None and answer["error"] is None


def make_journal(folder, monkeypatch, *, age_s):
    """As a daemon that was first started so long ago has it."""
    made_at = time.time() - age_s
    monkeypatch.setattr(journal.time, "time", lambda: made_at)
    journal.SqliteJournal(folder / "dehedge.db").close()
    monkeypatch.undo()


async def test_second_daemon_on_one_account_refuses_to_open_when_the_first_one_trades(tmp_path, monkeypatch):
    async with a_world(tmp_path) as (world, older):
        (tmp_path / "second").mkdir()
        make_journal(tmp_path, monkeypatch, age_s=200)
        make_journal(tmp_path / "second", monkeypatch, age_s=100)
        younger = DaemonProcess(tmp_path / "second", world.build_environment(HEDGE_SIZING="notional", POLL_INTERVAL_SECONDS="0.3"))
        try:
            await asyncio.gather(older.start(), younger.start())
            for daemon in (older, younger):
                await wait_until(daemon.check_ready, "both daemons to be ready")
            await world.chain.put(a_long())
            await wait_until(lambda: names_a_rival(younger), "the second daemon to notice the first")
            for daemon in (older, younger):
                await wait_until(lambda daemon=daemon: has_sent_all(daemon), "the orders to be known to the end")
            before = count_orders(world)
            await world.chain.put(a_long(3))
            await wait_until(lambda: is_held_back(younger, 3), "the second daemon to hold back", 20)
            await wait_until(lambda: holds(older, 2), "the first daemon to hedge on", 20)

            assert count_orders(world) == before + 1
            assert await older.check_ready()
            await world.chain.remove(a_long().key)
            await wait_until(lambda: holds(younger, 0), "the second daemon to close", 20)
            await net_becomes(world, older, TARGET)
        finally:
            await younger.close()


async def names_a_rival(daemon):
    answer = await daemon.fetch("/readyz")
    return bool(answer) and any("an older daemon" in reason for reason in answer["reasons"])


async def has_sent_all(daemon):
    answer = await daemon.fetch("/api/v1/status")
    return bool(answer) and not answer["orders_in_flight"]


async def is_held_back(daemon, user):
    answer = await daemon.fetch("/api/v1/positions")
    rows = answer["positions"] if answer else []
    return [row["reason"] for row in rows if int(row["position_id"].partition("|")[0], 16) == user] == ["symbol_blocked"]


async def holds(daemon, count):
    answer = await daemon.fetch("/api/v1/hedges")
    return bool(answer) and len(answer["hedges"]) == count


def count_orders(world):
    return len(world.exchange.orders)


async def test_daemon_stops_opens_when_its_connector_says_that_a_law_is_broken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables = {"NETWORKS": "http://127.0.0.1:1", "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    daemon = Daemon(read_settings(), {"BTC-USD": "BTCUSDT"})
    breach = Breach(Law.RATE, "ORDERS 10S", "301 of 300 within 10 s")

    daemon._connector._gateway._tally._on_breach(breach)
    assert daemon._alarm.take()
    await daemon._ledger.enforce()

    assert daemon._status.get_status()["mode"] == "no-opens"
    assert any(str(breach) in reason for reason in daemon._status.find_obstacles())
    assert daemon._guardian._get_rules() is daemon._venue.rules
    await daemon._close()


async def test_daemon_keeps_within_its_limits_over_a_restart_and_shows_them(tmp_path):
    limits = {"MAX_MARKET_NOTIONAL_USD": "10000", "MIN_FREE_MARGIN_USD": "10", "MIN_LIQUIDATION_DISTANCE_BPS": "5"}
    async with a_world(tmp_path, **limits) as (world, daemon):
        await world.chain.put(a_long(1), a_long(2, size_usd=9_000))

        async def is_held():
            status = await daemon.fetch("/api/v1/status")
            rows = {(row["guard"], row["scope"]): row for row in status["guards"]}
            return (
                bool(rows)
                and rows["market_notional_limit", "BTCUSDT"]["held"] == 1
                and Decimal(rows["free_margin_low", "all"]["used"]) > 10
            )

        for _ in range(2):
            await daemon.start()
            await net_becomes(world, daemon, TARGET)
            await wait_until(is_held, "the limit to hold the second position", 20)
            await daemon.kill()

        assert daemon.log_text.count("market_notional_limit") == 2
        assert world.exchange.net("BTCUSDT") == TARGET


async def test_daemon_trades_on_paper_without_an_account(tmp_path):
    environment = {"CONNECTOR": "paper", "BINANCE_API_KEY": "", "BINANCE_API_SECRET": ""}
    async with a_world(tmp_path, **environment) as (world, daemon):
        await world.chain.put(a_long())
        await daemon.start()

        async def holds():
            return await book_agrees(daemon, TARGET, "BTCUSDT")

        await wait_until(holds, "the paper hedge", 30)
        await daemon.kill()
        await daemon.start()
        await wait_until(holds, "the paper hedge after a restart", 30)
        await world.chain.remove(a_long().key)

        async def is_flat():
            return await book_agrees(daemon, Decimal(0), "BTCUSDT")

        await wait_until(is_flat, "the paper hedge to close", 30)
        assert not world.exchange.orders


class Hook:
    """A webhook and a dead man's switch on one port; keeps what came, and may take for ever."""

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[dict[str, str]] = []
        self.pings = 0
        self.hangs = False

    async def serve(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            self.pings += 1
        else:
            self.messages.append(await request.json())
        if self.hangs:
            await asyncio.sleep(90)
        return web.Response()

    @property
    def lines(self) -> list[str]:
        """Without their times."""
        return [line.partition(" UTC ")[2] for message in self.messages for line in message["message"].splitlines()]


@asynccontextmanager
async def a_hook():
    hook = Hook()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hook.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.port = runner.addresses[0][1]
    try:
        yield hook
    finally:
        await runner.cleanup()


def build_addresses(hook: Hook) -> dict[str, str]:
    url = f"127.0.0.1:{hook.port}"
    return {"NOTIFY_URLS": f"json://{url}/hook?rto=90", "HEARTBEAT_URL": f"http://{url}/ping", "HEARTBEAT_SECONDS": "1"}


async def test_daemon_tells_people_what_it_does_and_pings_while_it_works(tmp_path):
    async with a_hook() as hook, a_world(tmp_path, **build_addresses(hook)) as (world, daemon):
        await daemon.start()
        await wait_until(daemon.check_ready, "the daemon to be ready")
        for user in range(1, 6):
            await world.chain.put(a_long(user))
        await net_becomes(world, daemon, TARGET * 5)

        async def has_told():
            return any("hedges opened" in line or "hedge opened" in line for line in hook.lines) and hook.pings > 1

        await wait_until(has_told, "messages and pings", 30)
        assert await daemon.post("/api/v1/pause") == 202
        assert await daemon.stop() == 0

    assert hook.lines[0].startswith("dehedge ")
    assert hook.lines[0].endswith("mode active, hedges held: 0, orders in flight: 0")
    opened = [int(line.split()[0]) for line in hook.lines if " opened: BTC-USD BUY" in line]
    assert sum(opened) == 5
    assert any(line.startswith("mode no-opens") for line in hook.lines)
    assert hook.lines[-1] == "stopped: hedges that stay open: 5"
    assert len(hook.messages) < 6
    assert "dehedge on " in hook.messages[0]["title"]


async def test_daemon_hedges_and_ends_in_time_when_nobody_takes_its_messages(tmp_path):
    async with a_hook() as hook, a_world(tmp_path, **build_addresses(hook)) as (world, daemon):
        hook.hangs = True
        await daemon.start()
        await world.chain.put(a_long())
        await net_becomes(world, daemon, TARGET)

        async def is_being_told():
            return len(hook.messages) > 0 and hook.pings > 0

        await wait_until(is_being_told, "a message and a ping under way", 30)
        began = time.monotonic()
        assert await daemon.stop() == 0

        # The message hangs for 90 s; the interpreter's own end takes a while on a busy machine.
        assert time.monotonic() - began < FLUSH_S + 40
        await daemon.start()
        await net_becomes(world, daemon, TARGET)
