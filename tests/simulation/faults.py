"""Everything that can go wrong around the daemon, by boundary, each as a named act on a world.

An act breaks something and says how to mend it; ``mend`` mends all at once. What an act chooses (which node, which code,
for how long) it takes from the run's own source of chance. Played by ``story``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

from dehedge.sim.chain.faults import Damage, ErrorReply, build_html_page, build_rate_limited, build_server_error
from dehedge.sim.exchange import Ask, Disturbance, Executes, FaultRule, Refused
from dehedge.sim.exchange import faults as at_exchange
from dehedge.sim.hermes import Fault as HermesFault
from dehedge.sim.hermes import Route
from dehedge.sim.world import FEEDS, SYMBOLS
from tests.simulation.world import World

Act = Callable[[World, random.Random], None]

ANSWERS_OF_NODES = (
    Damage.TRUNCATED,
    Damage.CUT,
    Damage.WRONG_ID,
    Damage.HANG,
    Damage.RESET,
    build_html_page(),
    build_rate_limited(),
    build_rate_limited(7),
    build_server_error(),
    ErrorReply(-32603, "internal error"),
    ErrorReply(-32000, "header not found"),
)
FAULTS_OF_HERMES = tuple(HermesFault)
REFUSALS = (-1003, -1008, -1015, -1111, -2010, -2018, -2019, -2022, -2023, -2027, -2028, -4061, -4131, -4164)
NOT_EXECUTED = (
    at_exchange.unavailable_503(),
    at_exchange.overloaded_503(),
    at_exchange.stale_timestamp(),
    at_exchange.html_page(Executes.NEVER, 403),
)
"""The exchange documents that none of these was carried out."""
UNKNOWN = (
    at_exchange.reset_before(),
    at_exchange.reset_after(),
    at_exchange.hang_before(),
    at_exchange.hang_after(),
    *(
        build(executes)
        for executes in (Executes.NOW, Executes.NEVER)
        for build in (
            at_exchange.unknown_503, at_exchange.internal_503, at_exchange.timeout_408, at_exchange.unexpected_response,
            at_exchange.html_page, at_exchange.malformed_json, at_exchange.empty_body,
        )
    ),
)  # fmt: skip
"""What may become of one order without a plain answer: executed or not, told or not."""


def pick_node(world: World, rng: random.Random) -> list[int]:
    """One node, or both."""
    return rng.choice([[0], [1], [0, 1]])


def break_nodes(world: World, rng: random.Random) -> None:
    answer = rng.choice(ANSWERS_OF_NODES)
    for number in pick_node(world, rng):
        world.nodes[number].faults.inject(answer, times=rng.choice([1, 2, 5, None]))


def drop_nodes(world: World, rng: random.Random) -> None:
    for number in pick_node(world, rng):
        world.take_down(f"node{number}")


def lag_nodes(world: World, rng: random.Random) -> None:
    for number in pick_node(world, rng):
        world.nodes[number].faults.lag_blocks = rng.choice([1, 3, 20])


def freeze_nodes(world: World, rng: random.Random) -> None:
    for number in pick_node(world, rng):
        world.nodes[number].freeze_head()


def change_chain(world: World, rng: random.Random) -> None:
    world.nodes[rng.randrange(2)].faults.chain_id = 1


def lose_multicall(world: World, rng: random.Random) -> None:
    for number in pick_node(world, rng):
        world.nodes[number].faults.has_multicall = False


def hide_positions(world: World, rng: random.Random) -> None:
    """A node that has lost every position and says so with a straight face."""
    world.nodes[rng.randrange(2)].faults.hides_positions = True


def empty_pages(world: World, rng: random.Random) -> None:
    """Nodes that count positions and return none."""
    for number in pick_node(world, rng):
        world.nodes[number].faults.empties_pages = True


def reorganize(world: World, rng: random.Random) -> None:
    depth = rng.choice([1, 1, 2, 3])
    if depth < world.chain.head.number:
        world.chain.reorg(depth)


def break_hermes(world: World, rng: random.Random) -> None:
    routes = rng.choice([(Route.STREAM,), (Route.LATEST,), (Route.STREAM, Route.LATEST)])
    retry_after = rng.choice([None, "3"])
    world.hermes.fail(rng.choice(FAULTS_OF_HERMES), *routes, retry_after=retry_after, times=rng.choice([1, 3, None]))
    if rng.random() < 0.7:
        world.hermes.cut_streams()


def drop_hermes(world: World, rng: random.Random) -> None:
    world.take_down("hermes")


def silence_hermes(world: World, rng: random.Random) -> None:
    world.hermes.silence_streams()


def end_hermes_streams(world: World, rng: random.Random) -> None:
    rng.choice([world.hermes.end_streams, world.hermes.cut_streams])()


def freeze_prices(world: World, rng: random.Random) -> None:
    world.hermes.freeze(rng.choice([None, *FEEDS.values()]))


def publish_nonsense(world: World, rng: random.Random) -> None:
    """Zero, negative, far too wide, out of order, ahead of time, or no price at all."""
    feed = rng.choice([*FEEDS.values()])
    price = world.prices[next(market for market, known in FEEDS.items() if known == feed)]
    now = int(world.get_true_time())
    match rng.randrange(6):
        case 0:
            world.hermes.set(feed, Decimal(0))
        case 1:
            world.hermes.set(feed, -price)
        case 2:
            world.hermes.set(feed, price * rng.choice([2, 10]), confidence=price)
        case 3:
            world.hermes.set(feed, price / 2, publish_time=now - rng.choice([1, 5, 60]))
        case 4:
            world.hermes.set(feed, price / 2, publish_time=now + 3_600)
        case 5:
            world.hermes.push_data(rng.choice(["{", "[]", '{"parsed":[{"id":1}]}', '{"parsed":[{}]}', "null"]))
    world.restore_price(feed)


def spoil_orders(world: World, rng: random.Random) -> None:
    """The next orders end in some unclear way."""
    fault = rng.choice(UNKNOWN + NOT_EXECUTED)
    if rng.random() < 0.2:
        fault = at_exchange.executed_late(rng.choice([0.3, 1.0, 1.9, 4.0]), rng.choice(UNKNOWN))
    world.exchange.faults.add(
        FaultRule(fault, method="POST", path="/order", times=rng.choice([1, 1, 1, 2, 3]), nth=rng.choice([1, 1, 2]))
    )


def refuse_orders(world: World, rng: random.Random) -> None:
    code = rng.choice(REFUSALS)
    fault = rng.choice([at_exchange.refused(code), at_exchange.code_in_200(code)])
    world.exchange.faults.add(FaultRule(fault, method="POST", path="/order", times=rng.choice([1, 2, 5, None])))


def fill_in_part(world: World, rng: random.Random) -> None:
    fault = at_exchange.partial_fill(rng.choice([Decimal("0.1"), Decimal("0.37"), Decimal("0.9")]))
    world.exchange.faults.add(FaultRule(fault, method="POST", path="/order", times=rng.choice([1, 2, 4])))


def hide_orders(world: World, rng: random.Random) -> None:
    """The reply is lost, and no query finds the order for a while."""
    world.exchange.faults.add(
        FaultRule(at_exchange.hidden_order(rng.choice([0.5, 2.0, 6.0])), method="POST", path="/order"),
    )
    world.exchange.faults.add(FaultRule(at_exchange.reset_before(), method="GET", path="/order", times=2))


def break_exchange_reads(world: World, rng: random.Random) -> None:
    path = rng.choice(["/order", "/positionRisk", "/allOrders", "/userTrades", "/premiumIndex", "/exchangeInfo", None])
    fault = rng.choice(UNKNOWN + NOT_EXECUTED)
    times = rng.choice([1, 3, None])
    world.exchange.faults.add(FaultRule(fault, method="GET", path=path, times=times))


def slow_exchange(world: World, rng: random.Random) -> None:
    delay_s = rng.choice([0.3, 1.5, 3.0, 8.0])
    fault = rng.choice([at_exchange.delayed(before_s=delay_s), at_exchange.delayed(after_s=delay_s)])
    world.exchange.faults.add(FaultRule(fault, times=rng.choice([1, 3, 10])))


def throttle(world: World, rng: random.Random) -> None:
    world.exchange.faults.add(FaultRule(at_exchange.throttled(rng.choice([1, 3, 10, 20]))))


def ban(world: World, rng: random.Random) -> None:
    """418 for a while, as after somebody else on our address ignored his 429."""
    limits = world.exchange.api.venue.limits
    limits.get_caller("127.0.0.1").banned_until_ms = world.exchange.get_now_ms() + rng.choice([2_000, 10_000, 40_000])


def drop_exchange(world: World, rng: random.Random) -> None:
    world.take_down("exchange")


def disturb_events(world: World, rng: random.Random) -> None:
    kind = rng.choice(["drop", "duplicate", "reorder"])
    event = rng.choice([None, "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"])
    world.exchange.streams.disturb(Disturbance(kind, event, times=rng.choice([1, 3, 20])))


def expire_listen_key(world: World, rng: random.Random) -> None:
    world.exchange.expire_listen_key()


def break_streams(world: World, rng: random.Random) -> None:
    path = rng.choice(["market", "private", None])
    streams = world.exchange.streams
    if path is not None and rng.random() < 0.5:
        rng.choice([streams.silent, streams.refused]).add(path)
    streams.drop(path)


def silence_streams(world: World, rng: random.Random) -> None:
    """Connected, subscribed, and nothing comes: what a wrong route looks like."""
    world.exchange.streams.silent.add(rng.choice(["market", "private"]))


def liquidate(world: World, rng: random.Random) -> None:
    """The exchange takes a hedge, whole or in part."""
    held = world.exchange.ledger.account.get_open_positions()
    if held:
        position = rng.choice(list(held))
        if rng.random() < 0.5:
            world.exchange.liquidate(position.symbol, position.leg)
        else:
            world.exchange.deleverage(
                position.symbol, abs(position.amount) / 2 // Decimal("0.001") * Decimal("0.001"), position.leg
            )


def trade_by_hand(world: World, rng: random.Random) -> None:
    """Somebody trades on our account."""
    symbol = rng.choice([*SYMBOLS.values()])
    side = rng.choice(["BUY", "SELL"])
    leg = rng.choice(["LONG", "SHORT"]) if world.exchange.ledger.account.dual_side else "BOTH"
    try:
        world.exchange.trade_manually(Ask(symbol, side, rng.choice([Decimal("0.05"), Decimal("0.3")]), leg=leg))
    except Refused:
        return
    world.touched.add(symbol)


def change_leverage(world: World, rng: random.Random) -> None:
    symbol = rng.choice([*SYMBOLS.values()])
    try:
        world.exchange.set_leverage(symbol, rng.choice([1, 5, 50]))
    except Refused:
        return
    world.misset.add(symbol)


def change_mode(world: World, rng: random.Random) -> None:
    account = world.exchange.ledger.account
    try:
        world.exchange.set_dual_side(dual_side=not account.dual_side)
    except Refused:
        return


def suspend_symbol(world: World, rng: random.Random) -> None:
    world.exchange.set_status(rng.choice([*SYMBOLS.values()]), rng.choice(["BREAK", "HALT"]))


def delist(world: World, rng: random.Random) -> None:
    """For good: everything held in it is closed by the exchange."""
    symbol = rng.choice([*SYMBOLS.values()])
    world.exchange.settle(symbol)
    world.delisted.add(symbol)


def set_clock(world: World, rng: random.Random) -> None:
    world.clock.offset_s = rng.choice([-7200.0, -6.0, -1.5, 1.5, 6.0, 7200.0])


def fill_disk(world: World, rng: random.Random) -> None:
    world.fill_disk()


def fail_reading(world: World, rng: random.Random) -> None:
    """The process dies, and the journal cannot be read at its next starts."""
    world.fail_reading(rng.choice([1, 2, 5]))


def slow_disk(world: World, rng: random.Random) -> None:
    world.loop.disk_s = (0.05, 1.5)


FAULTS: dict[str, tuple[Act, ...]] = {
    "chain": (break_nodes, break_nodes, drop_nodes, lag_nodes, freeze_nodes, change_chain, lose_multicall, hide_positions, empty_pages, reorganize),
    "prices": (break_hermes, break_hermes, drop_hermes, silence_hermes, end_hermes_streams, freeze_prices, publish_nonsense),
    "orders": (spoil_orders, spoil_orders, spoil_orders, refuse_orders, fill_in_part, hide_orders),
    "exchange": (break_exchange_reads, slow_exchange, throttle, ban, drop_exchange, disturb_events, expire_listen_key, break_streams, silence_streams),
    "account": (liquidate, trade_by_hand, change_leverage, change_mode, suspend_symbol, delist),
    "machine": (set_clock, fill_disk, slow_disk, fail_reading),
}  # fmt: skip
"""Acts by boundary; one that stands twice is played twice as often."""


async def mend(world: World) -> None:
    """Everything works again, from now on and for good."""
    for node in world.nodes:
        node.faults.clear()
    world.hermes.heal()
    world.hermes.thaw()
    world.hermes.speak()
    world.exchange.faults.clear()
    world.exchange.streams.silent.clear()
    world.exchange.streams.refused.clear()
    world.exchange.streams.undisturb()
    world.exchange.api.venue.limits.get_caller("127.0.0.1").banned_until_ms = 0
    for symbol in set(SYMBOLS.values()) - world.delisted:
        world.exchange.set_status(symbol, "TRADING")
    world.clock.offset_s = 0.0
    world.free_disk()
    world.unreadable_starts = 0
    world.loop.reset_disk()
    await world.bring_up_all()
    for market, price in world.prices.items():
        world.set_price(market, price)
