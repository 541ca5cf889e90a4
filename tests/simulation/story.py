"""What happens in one run: a random but reproducible story of market, traders, faults, deaths and operators.

A seed decides the whole story before it begins; it is a list of acts in time. First comes trouble, then everything is
mended and stands still, and the world must come to rest: ``judgment`` says where.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from dehedge.sim.chain.model import SimPosition
from dehedge.sim.world import SYMBOLS, USD, build_position
from tests.simulation.faults import FAULTS, mend
from tests.simulation.run import Script
from tests.simulation.world import World

TROUBLE_S = (12.0, 40.0)
PRICES = {"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}
MOVES = (-8, -5, -3, -1, 0, 1, 3, 5, 8)
"""In percent of the first price; at the ends most positions of a side are at risk."""
SIZES_USD = (300, 1_500, 4_000, 10_000, 25_000, 60_000)


class Beat(NamedTuple):
    """One act of the story."""

    at_s: float
    name: str
    play: Callable[[], object]


def write_story(world: World, rng: random.Random) -> list[Beat]:
    """The acts of this run, in order of time."""
    length_s = rng.uniform(*TROUBLE_S)
    pickers = [pick_market_act] * rng.choice([2, 4, 6, 8])
    pickers += [pick_fault] * rng.choice([0, 1, 1, 2, 3, 5])
    pickers += [pick_life_act] * rng.choice([0, 0, 1, 1, 2])
    acts = [pick(world, rng) for pick in pickers]
    times = sorted(rng.uniform(0.0, length_s) for _ in acts)
    rng.shuffle(acts)
    return [Beat(at_s, name, play) for at_s, (name, play) in zip(times, acts, strict=True)]


def pick_fault(world: World, rng: random.Random) -> tuple[str, Callable[[], object]]:
    act = rng.choice(FAULTS[rng.choice([*FAULTS])])
    chance = random.Random(rng.random())
    return act.__name__, lambda: act(world, chance)


def pick_market_act(world: World, rng: random.Random) -> tuple[str, Callable[[], object]]:
    act = rng.choice(
        [move_price, move_price, move_price, open_position, close_position, change_position, set_capital, set_funding]
    )
    chance = random.Random(rng.random())
    return act.__name__, lambda: act(world, chance)


def pick_life_act(world: World, rng: random.Random) -> tuple[str, Callable[[], object]]:
    act = rng.choice([kill, kill, kill, terminate, operate])
    chance = random.Random(rng.random())
    return act.__name__, lambda: act(world, chance)


def set_scene(world: World, rng: random.Random) -> None:
    """Vault, shield and the first positions."""
    world.chain.set_vault(100_000 * USD)
    world.chain.set_shield(rng.choice([20, 300]) * USD)
    crowd = 40 if rng.random() < 0.03 else rng.choice([1, 1, 2, 3, 5])
    for _ in range(crowd):
        world.put_position(draw_position(rng))
    world.chain.mine()


def draw_position(rng: random.Random) -> SimPosition:
    market = rng.choice([*PRICES])
    entry = PRICES[market] * (100 + rng.choice([-4, -2, 0, 2, 4])) / 100
    return build_position(
        rng.randrange(1, 60), market, is_long=rng.random() < 0.5, size_usd=rng.choice(SIZES_USD), price=entry
    )


def move_price(world: World, rng: random.Random) -> None:
    market = rng.choice([*PRICES])
    world.set_price(market, PRICES[market] * (100 + rng.choice(MOVES)) / 100)


def open_position(world: World, rng: random.Random) -> None:
    world.put_position(draw_position(rng))
    world.chain.mine()


def close_position(world: World, rng: random.Random) -> None:
    position = pick_position(world, rng)
    if position is not None:
        world.chain.remove(position.key)
        world.chain.mine()


def change_position(world: World, rng: random.Random) -> None:
    """A trader adds, takes away, or turns around."""
    position = pick_position(world, rng)
    if position is None:
        return
    match rng.randrange(3):
        case 0:
            world.put_position(replace(position, size=position.size * 2))
        case 1:
            world.put_position(replace(position, size=position.size // 2))
        case 2:
            world.put_position(replace(position, is_long=not position.is_long))
    world.chain.mine()


def pick_position(world: World, rng: random.Random) -> SimPosition | None:
    positions = world.chain.head.contents.positions
    return rng.choice(positions) if positions else None


def set_capital(world: World, rng: random.Random) -> None:
    world.chain.set_shield(rng.choice([0, 20, 300, 5_000]) * USD)
    world.chain.set_vault(rng.choice([50_000, 100_000]) * USD)
    world.chain.mine()


def set_funding(world: World, rng: random.Random) -> None:
    world.chain.set_tracer(rng.choice([*PRICES]), rng.choice([-1, 0, 1]) * 10**18)
    world.chain.mine()


def kill(world: World, rng: random.Random) -> None:
    """Kill -9, and a start some time later."""
    world.kill_daemon()
    world.loop.call_later(rng.choice([0.1, 1.0, 5.0, 20.0]), world.ensure_daemon)


def terminate(world: World, rng: random.Random) -> None:
    world.terminate_daemon()


def operate(world: World, rng: random.Random) -> None:
    """An operator turns the kill switch."""
    path = rng.choice(["pause", "flatten", "resume"])
    world.spawn(world.post(f"/api/v1/{path}"))


def build_script(seed: int) -> Script:
    """The whole story of a seed."""
    rng = random.Random(f"story {seed}")
    hedge_mode = rng.random() < 0.4
    return Script(f"seed {seed}", hedge_mode, lambda world: set_scene(world, rng), lambda world: play(world, rng))


async def play(world: World, rng: random.Random) -> None:
    """The story from its first act to the mended world."""
    start_s = world.loop.time()
    for beat in write_story(world, rng):
        await asyncio.sleep(start_s + beat.at_s - world.loop.time())
        world.note("act", beat.name)
        beat.play()
    await asyncio.sleep(rng.choice([0.0, 1.0, 5.0]))
    world.note("act", "mend")
    await mend(world)
    world.ensure_daemon()


assert set(PRICES) == set(SYMBOLS), "the story trades what the world lists"
