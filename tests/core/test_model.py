"""The names of things: sides, keys, and that nothing observed can be changed."""

from __future__ import annotations

from dataclasses import is_dataclass
from decimal import Decimal
from importlib import import_module
from pkgutil import iter_modules

import pytest

import dehedge.core
from dehedge.core import earnings
from dehedge.core.book import HedgeBook
from dehedge.core.flows import Lot, Walk
from dehedge.core.guards import Budget
from dehedge.core.history import Chronicler
from dehedge.core.lives import LifeBook
from dehedge.core.model import PRICE_SCALE, Leg, Market, Side, TradingRules
from tests.core.builders import USDC, USER, a_key, a_position, a_tick


def test_side_and_leg_are_called_what_the_exchange_calls_them() -> None:
    assert list(Side) == ["BUY", "SELL"]
    assert list(Leg) == ["BOTH", "LONG", "SHORT"]


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


def list_dataclasses() -> list[type]:
    modules = [import_module(f"dehedge.core.{found.name}") for found in iter_modules(dehedge.core.__path__)]
    kinds = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
    return sorted((kind for kind in kinds if is_dataclass(kind)), key=lambda kind: kind.__qualname__)


COLLECTORS = {HedgeBook, Budget, Chronicler, LifeBook, Lot, Walk, earnings._Group, earnings._Order}
"""Folds of journaled facts collect, and so does what one pass or one report counts."""


@pytest.mark.parametrize("kind", list_dataclasses())
def test_data_of_the_core_is_slotted_and_all_but_what_collects_is_frozen(kind: type) -> None:
    assert "__slots__" in vars(kind)
    assert kind.__dataclass_params__.frozen is (kind not in COLLECTORS)


def test_market_and_rules_are_open_for_trade_unless_told_otherwise() -> None:
    market = Market("BTC-USD", "00" * 32, 0)
    rules = TradingRules("BTCUSDT", Decimal(1), Decimal(1), Decimal(9), Decimal(5), Decimal(1))

    assert (market.is_live, market.is_reduce_only, rules.is_trading) == (True, False, True)


def test_price_scale_is_that_of_the_chain() -> None:
    assert PRICE_SCALE == 10**18


@pytest.mark.parametrize("noun", [a_position(), a_tick(), a_key()])
def test_named_tuples_cannot_be_changed(noun: object) -> None:
    with pytest.raises(AttributeError):
        noun.market = "other"  # type: ignore[attr-defined]
