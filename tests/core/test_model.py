"""The names of things: sides, keys, and that nothing observed can be changed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from dehedge.core.model import Side
from tests.core.builders import USDC, USER, a_key, a_market, a_position, a_snapshot, a_tick, an_observation, rules


@pytest.mark.parametrize(("side", "opposite", "sign"), [(Side.BUY, Side.SELL, 1), (Side.SELL, Side.BUY, -1)])
def test_side_has_an_opposite_and_a_sign(side: Side, opposite: Side, sign: int) -> None:
    assert side.opposite is opposite
    assert side.sign == sign


@pytest.mark.parametrize(("is_long", "side"), [(True, Side.BUY), (False, Side.SELL)])
def test_position_is_hedged_by_its_own_side(is_long: bool, side: Side) -> None:
    assert a_position(is_long=is_long).hedge_side is side


def test_position_key_names_market_user_and_asset() -> None:
    key = a_position(market="ETH-USD").key

    assert key == ("ETH-USD", f"{USER}|{USDC}")
    assert str(key) == f"ETH-USD|{USER}|{USDC}"


def test_position_key_ignores_side_and_figures() -> None:
    assert a_position(is_long=False, size=1, entry_price=2).key == a_position().key == a_key()


@pytest.mark.parametrize("noun", [a_market(), a_snapshot(), an_observation(), rules()])
def test_nouns_are_frozen(noun: object) -> None:
    name = next(iter(type(noun).__dataclass_fields__))  # type: ignore[attr-defined]

    with pytest.raises(FrozenInstanceError):
        setattr(noun, name, None)


@pytest.mark.parametrize("noun", [a_position(), a_tick(), a_key()])
def test_named_tuples_cannot_be_changed(noun: object) -> None:
    with pytest.raises(AttributeError):
        noun.market = "other"  # type: ignore[attr-defined]
