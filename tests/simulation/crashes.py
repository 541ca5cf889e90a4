"""Every point at which the process can die, with every outcome of the order under way, one after another.

A scenario is brought to rest, its act is played while the orders meet an outcome, and the points that the daemon passes
are counted: before and after each durable write, before an order leaves, when it has left, when its answer arrives. Then
the same is played once for each point, with kill -9 there and a restart, and the world must come to rest as ever.
Enumerated, not sampled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from itertools import product
from typing import NamedTuple

from dehedge.sim.chain import SimPosition
from dehedge.sim.exchange import Executes, Fault, FaultRule
from dehedge.sim.exchange import faults as at_exchange
from dehedge.sim.world import USD, build_position
from tests.simulation.judgment import find_unrest
from tests.simulation.run import Script, Simulator, Verdict
from tests.simulation.world import World

START_S = 3.0
LOOK_S = 0.5
ACT_S = 60.0
"""How long the act and all that follows from it may take: the expiry, and backing off after a refusal, included."""
RESTART_S = (0.1, 8.0)
"""At once, and after the exchange's window for the order has passed."""

POSITIONS = [
    build_position(number, "BTC-USD", is_long=True, size_usd=size_usd, price=Decimal(57_000))
    for number, size_usd in enumerate((10_000, 4_000, 25_000), start=1)
]
OPPOSITE = build_position(9, "BTC-USD", is_long=False, size_usd=8_000, price=Decimal(63_000))


class Case(NamedTuple):
    """One death: ``point`` counts from 1; 0 is the run without one."""

    scenario: str
    outcome: str
    hedge_mode: bool
    restart_s: float
    point: int

    def __str__(self) -> str:
        mode = "hedge mode" if self.hedge_mode else "one-way"
        return f"{self.scenario}, order {self.outcome}, {mode}, restart after {self.restart_s:g} s, point {self.point}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is there before, and the act in which the process dies."""

    before: Callable[[World], None]
    act: Callable[[World], None]


def open_one(world: World) -> None:
    put(world, POSITIONS[0])


def open_group(world: World) -> None:
    put(world, *POSITIONS)


def open_both_sides(world: World) -> None:
    put(world, POSITIONS[0], OPPOSITE)


def grow(world: World) -> None:
    put(world, replace(POSITIONS[0], size=POSITIONS[0].size * 2))


def shrink(world: World) -> None:
    put(world, replace(POSITIONS[0], size=POSITIONS[0].size // 2))


def turn(world: World) -> None:
    put(world, replace(POSITIONS[0], is_long=False, price=63_000 * 10**18))


def vanish(world: World) -> None:
    for position in world.chain.head.contents.positions:
        world.chain.remove(position.key)
    world.chain.mine()


def calm_down(world: World) -> None:
    world.set_price("BTC-USD", Decimal(56_900))


def flatten(world: World) -> None:
    world.spawn(insist(world, "/api/v1/flatten"))


async def insist(world: World, path: str) -> None:
    """An operator who was not answered asks again."""
    while not await world.post(path):  # noqa: ASYNC110  (virtual time costs nothing)
        await asyncio.sleep(LOOK_S)


def put(world: World, *positions: SimPosition) -> None:
    for position in positions:
        world.put_position(position)
    world.chain.mine()


def nothing(world: World) -> None: ...


SCENARIOS = {
    "open": Scenario(nothing, open_one),
    "group open": Scenario(nothing, open_group),
    "both sides open": Scenario(nothing, open_both_sides),
    "resize up": Scenario(open_one, grow),
    "resize down": Scenario(open_one, shrink),
    "side change": Scenario(open_one, turn),
    "close, gone": Scenario(open_one, vanish),
    "close, expired": Scenario(open_one, calm_down),
    "group close": Scenario(open_group, vanish),
    "flatten": Scenario(open_both_sides, flatten),
}
OUTCOMES: dict[str, Fault | None] = {
    "filled": None,
    "never sent": at_exchange.reset_before(),
    "partly filled": at_exchange.partial_fill(Decimal("0.37")),
    "refused": at_exchange.refused(-2010),
    "filled, reply lost": at_exchange.reset_after(),
    "filled late, reply lost": at_exchange.executed_late(1.5, at_exchange.reset_before()),
    "filled, unknown 503": at_exchange.unknown_503(Executes.NOW),
    "not filled, unknown 503": at_exchange.unknown_503(Executes.NEVER),
}

SHORT_OUTCOMES = ("filled", "never sent", "filled, reply lost")


class Death:
    """Counts the points passed while it is armed, and kills at the chosen one."""

    def __init__(self, world: World, case: Case) -> None:
        self.passed = 0
        self._world, self._case = world, case
        self.is_armed = False

    def __call__(self, _: str) -> bool:
        if not self.is_armed:
            return False
        self.passed += 1
        if self.passed != self._case.point:
            return False
        self._world.loop.call_next(self._kill)
        return True

    def _kill(self) -> None:
        self._world.note("act", "kill")
        self._world.kill_daemon()
        self._world.loop.call_later(self._case.restart_s, self._world.ensure_daemon)


def build_script(case: Case, passed: list[int]) -> Script:
    """The script of a case; the number of points passed is put into ``passed``."""
    return Script(str(case), case.hedge_mode, partial(set_scene, case), partial(tell, case, passed))


def set_scene(case: Case, world: World) -> None:
    world.chain.set_vault(100_000 * USD)
    world.chain.set_shield(20 * USD)
    world.chain.mine()
    SCENARIOS[case.scenario].before(world)


async def tell(case: Case, passed: list[int], world: World) -> None:
    """From rest through the act and the death to when all should be done again."""
    await asyncio.sleep(START_S)
    assert not find_unrest(world), find_unrest(world)
    fault = OUTCOMES[case.outcome]
    if fault is not None:
        world.exchange.faults.add(FaultRule(fault, method="POST", path="/order"))
    death = world.loop.on_point = Death(world, case)
    death.is_armed = True
    SCENARIOS[case.scenario].act(world)
    find_rest = find_positions if case.scenario == "flatten" else find_unrest
    end_s = world.loop.time() + ACT_S
    await asyncio.sleep(LOOK_S)
    while find_rest(world) and world.loop.time() < end_s:  # noqa: ASYNC110  (virtual time costs nothing)
        await asyncio.sleep(LOOK_S)
    death.is_armed = False
    passed.append(death.passed)
    world.problems += [f"after {ACT_S:g} s: {line}" for line in find_rest(world)]


def find_positions(world: World) -> list[str]:
    """What flattening has left."""
    held = [f"{symbol} {leg} {amount}" for (symbol, leg), amount in world.exchange.positions().items()]
    return held or ([] if world.book is not None and not world.book.in_flight else ["not done"])


def run_family(machine: Simulator, family: Case) -> Iterator[Verdict]:
    """Without a death, and then with one at every point that was passed."""
    passed: list[int] = []
    yield machine.run(build_script(family, passed))
    for point in range(1, passed[0] + 1):
        yield machine.run(build_script(family._replace(point=point), []))


def list_families(*, is_short: bool, outcome: str | None) -> list[Case]:
    """Every scenario, outcome, position mode and restart, without a death yet; the short list has one of the last two."""
    outcomes = [outcome] if outcome else SHORT_OUTCOMES if is_short else OUTCOMES
    settings = product((False, True), RESTART_S) if not is_short else [(False, RESTART_S[0])]
    return [
        Case(scenario, outcome, hedge_mode, restart_s, 0)
        for scenario, outcome, (hedge_mode, restart_s) in product(SCENARIOS, outcomes, [*settings])
    ]
