"""The chain's model: removal as on chain, blocks that can be read again, reorganizations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.sim.chain import ChainState, Paging, SimMarket, SimPosition, UnknownPosition
from dehedge.sim.chain.model import USDC

Builder = Callable[..., SimPosition]


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> ChainState:
    return ChainState(clock=clock)


def _list_traders(state: ChainState) -> list[int]:
    return [int(position.user, 16) for position in state.head.contents.positions]


def test_removal_moves_the_last_position_into_the_gap(state: ChainState, a_position: Builder) -> None:
    state.put(*(a_position(trader) for trader in range(1, 6)))
    state.remove(a_position(2).key)
    state.mine()

    assert _list_traders(state) == [1, 5, 3, 4]


def test_removal_of_the_last_position_moves_nothing(state: ChainState, a_position: Builder) -> None:
    state.put(a_position(1), a_position(2))
    state.remove(a_position(2).key)
    state.mine()

    assert _list_traders(state) == [1]


def test_put_replaces_in_place_when_the_key_exists(state: ChainState, a_position: Builder) -> None:
    state.put(a_position(0xA), a_position(0xB))
    state.put(a_position(0xA, user="0x" + f"{0xA:040X}", is_long=False, size=5))
    state.mine()

    assert [(p.is_long, p.size) for p in state.head.contents.positions] == [(False, 5), (True, a_position(0xB).size)]


def test_remove_raises_when_the_position_is_unknown(state: ChainState, a_position: Builder) -> None:
    with pytest.raises(UnknownPosition, match="BTC-USD"):
        state.remove(a_position(1).key)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 8)), max_size=60))
def test_order_equals_a_naive_swap_and_pop(steps: list[tuple[bool, int]]) -> None:
    state, naive = ChainState(), list[int]()
    for is_put, trader in steps:
        position = SimPosition(
            user=f"0x{trader:040x}", market="ETH-USD", is_long=True, size=1, collateral=1, price=10**18
        )
        if is_put:
            state.put(position)
            naive += [] if trader in naive else [trader]
        elif trader in naive:
            state.remove(position.key)
            naive[naive.index(trader)] = naive[-1]
            naive.pop()
    state.mine()

    assert _list_traders(state) == naive
    assert state.count == len(naive)


def test_changes_show_only_when_mined(state: ChainState, a_position: Builder) -> None:
    state.put(a_position(1))
    state.set_vault(5)
    before = state.head.contents
    state.mine()

    assert (before.positions, before.vaults) == ((), {})
    assert (_list_traders(state), state.head.contents.vaults) == ([1], {USDC.lower(): 5})


def test_old_block_keeps_every_value_when_the_chain_moves_on(state: ChainState, a_position: Builder) -> None:
    market = SimMarket(market="BTC-USD", pyth_feed="ab" * 32)
    state.put(a_position(1))
    state.set_vault(100)
    state.set_shield(10)
    state.set_tracer("BTC-USD", -7)
    state.set_market(market)
    old = state.mine().number
    state.put(a_position(2))
    state.remove(a_position(1).key)
    state.set_vault(1)
    state.set_shield(2)
    state.set_tracer("BTC-USD", 9)
    state.set_market(SimMarket(market="BTC-USD", pyth_feed="cd" * 32))
    state.set_paging(Paging.CAP)
    state.mine()

    block = state.get_block(old)

    assert block is not None
    assert (block.contents.vaults[USDC.lower()], block.contents.shields[USDC.lower()]) == (100, 10)
    assert (block.contents.tracers[USDC.lower(), "BTC-USD"], block.contents.markets["BTC-USD"]) == (-7, market)
    assert (block.contents.positions, block.contents.paging) == ((a_position(1),), Paging.INDEX)


def test_blocks_are_linked_and_never_ahead_of_the_clock(state: ChainState, clock: Clock) -> None:
    parent = state.mine()
    clock.now += 2.5
    block = state.mine()
    clock.now -= 100

    assert (block.number, block.parent_hash, block.timestamp) == (parent.number + 1, parent.hash, 1_700_000_002)
    assert state.mine().timestamp == block.timestamp


def test_catch_up_mines_only_when_another_second_has_begun(state: ChainState, clock: Clock) -> None:
    start = state.head.number
    clock.now += 0.9
    state.catch_up()
    same_second = state.head.number
    clock.now += 0.2
    state.catch_up()

    assert (same_second, state.head.number, state.head.timestamp) == (start, start + 1, 1_700_000_001)


def test_reorg_undoes_the_changes_and_renames_the_blocks(state: ChainState, a_position: Builder) -> None:
    state.put(a_position(1))
    kept = state.mine()
    state.put(a_position(2))
    orphan = state.mine()
    state.put(a_position(3))
    state.mine()
    state.set_vault(5)

    state.reorg(2)

    assert state.head.number == kept.number + 2
    assert (_list_traders(state), state.count, state.head.contents.vaults) == ([1], 1, {})
    assert state.get_block(kept.number) is kept
    assert state.get_block(orphan.number) is not orphan
    assert state.get_block_by_hash(orphan.hash) is orphan


def test_state_goes_on_after_a_reorg(state: ChainState, a_position: Builder) -> None:
    state.put(a_position(1), a_position(2))
    state.mine()
    state.remove(a_position(1).key)
    state.mine()
    state.reorg(1)
    state.remove(a_position(2).key)
    state.mine()

    assert _list_traders(state) == [1]


def test_history_forgets_the_oldest_blocks_when_it_is_full(clock: Clock) -> None:
    state = ChainState(clock=clock, history_blocks=3)
    first = state.head
    state.mine(3)

    assert state.get_block(first.number) is None
    assert state.get_block_by_hash(first.hash) is None
    assert state.get_block(state.head.number - 2) is not None
    assert state.get_block(state.head.number + 1) is None
