"""Where a world must come to rest, and what may never have happened on the way. Judges by the exchange's own ledger.

By default a position is at risk when its profit reaches the shield, and the trader's own quantity is hedged; what is wanted
where positions are judged together is said in ``together``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal

from dehedge.adapters.journal import SqliteJournal
from dehedge.core.book import HedgeBook, HedgedPosition
from dehedge.core.events import OrderIntended
from dehedge.core.model import HedgeKey, Leg, Side
from dehedge.core.orders import OrderRequest
from dehedge.daemon import Daemon
from dehedge.portfolio_settings import RiskScope
from dehedge.recovery import replay
from dehedge.sim.chain import SimPosition
from dehedge.sim.exchange import Order
from dehedge.sim.world import SYMBOLS
from tests.simulation.figures import SIZE_MIN, find_excused, get_key, get_pnl, get_quantity, get_shield
from tests.simulation.together import find_gone, find_wrongs_together
from tests.simulation.world import RULES, World

OURS = "dh-"


def check_at_risk(world: World, position: SimPosition) -> bool:
    return get_pnl(world, position) >= get_shield(world, position.asset)


def find_unrest(world: World) -> list[str]:
    """What is not yet as it must be at rest; empty when all is."""
    daemon, book = world.daemon, world.book
    if daemon is None or book is None:
        return ["no daemon runs"]
    unrest = [f"order in flight: {name}" for name in book.in_flight]
    unrest += RULES_OF_SCOPE[world.settings.risk_scope](world, book)
    unrest += find_wrong_holdings(world, daemon)
    excused = find_excused(world)
    unrest += [
        f"not ready: {line}"
        for line in daemon._status.find_obstacles()
        if not any(symbol in line for symbol in excused)
    ]
    return unrest


def find_wrong_hedges(world: World, book: HedgeBook) -> Iterator[str]:
    """The book against what the rules want for the chain as it is."""
    hedges, excused = book.get_all_hedged_positions(), find_excused(world)
    for position in world.chain.head.contents.positions:
        hedge = hedges.get(get_key(position))
        symbol = SYMBOLS[position.market]
        if symbol in excused:
            continue
        quantity = hedge.signed_quantity if hedge is not None else Decimal(0)
        wanted = get_quantity(position) * (1 if position.is_long else -1)
        tolerance = RULES[symbol].notional_min / world.prices[position.market]
        if not check_at_risk(world, position):
            if hedge is not None:
                yield f"{get_key(position)} is hedged and not at risk"
        elif position.size >= SIZE_MIN and abs(quantity - wanted) > (tolerance if quantity else 0):
            yield f"{get_key(position)} is hedged by {quantity}, wanted is {wanted}"
    yield from find_gone(world, hedges)


RULES_OF_SCOPE = {RiskScope.POSITION: find_wrong_hedges, RiskScope.PORTFOLIO: find_wrongs_together}


def find_wrong_holdings(world: World, daemon: Daemon) -> Iterator[str]:
    """The exchange against the book, leg by leg; a hand's difference is shown and freezes."""
    account, book = world.exchange.ledger.account, daemon._ledger.book
    legs = (Leg.LONG, Leg.SHORT) if account.dual_side else (Leg.BOTH,)
    for symbol in SYMBOLS.values():
        for leg in legs:
            held = account.get_position(symbol, leg.value).amount
            foreign = book.foreign.get((symbol, leg), Decimal(0))
            ours = book.get_net_quantity(symbol, leg)
            is_shown = symbol in daemon._auditor.blocked
            if held != ours + foreign and not (symbol in world.touched and is_shown):
                yield f"{symbol} {leg.value}: the exchange holds {held}, the book {ours} and {foreign} of others"
            if foreign and symbol not in world.touched:
                yield f"{symbol} {leg.value}: {foreign} are thought to be of others"


def find_wrongs(world: World) -> Iterator[str]:
    """What was wrong on the way, once the daemon is gone."""
    yield from world.problems
    orders = [order for order in world.exchange.orders if order.client_id.startswith(OURS)]
    yield from (
        f"order {name} was executed {count} times"
        for name, count in Counter(o.client_id for o in orders).items()
        if count > 1
    )
    yield from find_wrong_intents(world, orders)
    yield from find_excess(world)
    for caller in world.exchange.api.venue.limits._callers.values():
        if caller.bans:
            yield "the exchange has banned us"


def find_wrong_intents(world: World, orders: list[Order]) -> Iterator[str]:
    """Every order was in the journal first, and replaying the journal gives the book that was."""
    journal = SqliteJournal(world.path)
    try:
        entries = list(journal.read())
        book = replay(journal, world.clock)
    finally:
        journal.close()
    intents = {
        entry.event.request.client_order_id: entry for entry in entries if isinstance(entry.event, OrderIntended)
    }
    for order in orders:
        entry = intents.get(order.client_id)
        if entry is None:
            yield f"order {order.client_id} is not in the journal"
        elif not check_as_intended(entry.event.request, order):
            yield f"order {order.client_id} is not as it was intended"
    if world.final_book is not None and strip(book.get_all_hedged_positions()) != strip(world.final_book):
        yield "replaying the journal gives another book"


def check_as_intended(request: OrderRequest, order: Order) -> bool:
    """The exchange itself cuts an order that only reduces."""
    is_cut = request.reduce_only and order.quantity < request.quantity
    return request.side.value == order.side and (is_cut or request.quantity == order.quantity)


def strip(hedges: Mapping[HedgeKey, HedgedPosition]) -> dict[HedgeKey, HedgedPosition]:
    """Without the times of the last risk: while it lasts they live in memory only."""
    return {key: replace(hedge, placed_at=0.0, is_cooling=False) for key, hedge in hedges.items()}


def find_excess(world: World) -> Iterator[str]:
    """No symbol ever held more on a side than all its positions together could have wanted."""
    bounds: Counter[tuple[str, Side]] = Counter()
    for versions in world.put.values():
        for side in Side:
            quantities = [get_quantity(p) for p in versions if p.is_long == (side is Side.BUY)]
            bounds[SYMBOLS[versions[0].market], side] += max(quantities, default=Decimal(0))
    for point in world.exchange.ledger.points:
        if point.symbol not in world.touched and point.amount:
            side = Side.BUY if point.amount > 0 else Side.SELL
            if abs(point.amount) > bounds[point.symbol, side]:
                yield f"{point.symbol} held {point.amount}, all its positions want {bounds[point.symbol, side]}"
