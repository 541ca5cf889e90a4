"""JSON of the signed endpoints: orders, trades, account, balances, positions, incomes.

Builds plain dictionaries in the shape that the exchange sends, all numbers as strings. Decides nothing. What a write
reply must not carry (the average price and the quote volume, since June 2026) is decided by having two builders.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from dehedge.sim.exchange.ledger import Ledger
from dehedge.sim.exchange.margin import Totals
from dehedge.sim.exchange.model import ZERO, Fill, Income, Order, Position
from dehedge.sim.exchange.positions import compute_break_even
from dehedge.sim.exchange.symbols import SymbolRules

Json = dict[str, Any]
OTHER_ASSETS = ("BNB", "USDC")


def show(number: Decimal) -> str:
    """The shortest plain decimal, never with an exponent."""
    return format(number.normalize(), "f") if number else "0"


def show_fixed(number: Decimal, digits: int) -> str:
    return format(number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP), "f")


def show_money(number: Decimal) -> str:
    return show_fixed(number, 8)


def show_price(rules: SymbolRules, price: Decimal) -> str:
    return show_fixed(price, rules.price_precision)


def show_quantity(rules: SymbolRules, quantity: Decimal) -> str:
    return show_fixed(quantity, rules.quantity_precision)


def show_average(rules: SymbolRules, order: Order) -> str:
    return show_fixed(order.average_price, rules.price_precision + 3)


def build_order_core(rules: SymbolRules, order: Order) -> Json:
    """What every order reply has."""
    ask = order.ask
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": show_price(rules, ask.price),
        "origQty": show_quantity(rules, order.quantity),
        "executedQty": show_quantity(rules, order.executed),
        "timeInForce": ask.time_in_force,
        "type": ask.order_type,
        "reduceOnly": ask.reduce_only,
        "closePosition": False,
        "side": order.side,
        "positionSide": order.leg,
        "stopPrice": show_price(rules, ZERO),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": ask.order_type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": ask.good_till_ms,
        "updateTime": order.updated_ms,
    }


def build_write_reply(rules: SymbolRules, order: Order) -> Json:
    """The reply to placing, changing or canceling: no average price, no quote volume."""
    return {**build_order_core(rules, order), "cumQty": show_quantity(rules, order.executed)}


def build_ack_reply(rules: SymbolRules, order: Order) -> Json:
    """The reply before anything was matched."""
    nothing = show_quantity(rules, ZERO)
    return {**build_write_reply(rules, order), "status": "NEW", "executedQty": nothing, "cumQty": nothing}


def build_read_reply(rules: SymbolRules, order: Order) -> Json:
    """An order as the query endpoints show it."""
    return {
        **build_order_core(rules, order),
        "avgPrice": show_average(rules, order),
        "cumQuote": show_money(order.quote),
        "time": order.created_ms,
    }


def build_forced_reply(rules: SymbolRules, order: Order) -> Json:
    return {**build_read_reply(rules, order), "autoCloseType": order.close_kind}


def build_trade(rules: SymbolRules, fill: Fill) -> Json:
    return {
        "symbol": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": fill.side,
        "price": show_price(rules, fill.price),
        "qty": show_quantity(rules, fill.quantity),
        "realizedPnl": show_money(fill.realized),
        "quoteQty": show_money(fill.quote),
        "commission": show_money(fill.commission),
        "commissionAsset": "USDT",
        "time": fill.at_ms,
        "positionSide": fill.leg,
        "buyer": fill.side == "BUY",
        "maker": fill.is_maker,
    }


def build_income(income: Income) -> Json:
    return {
        "symbol": income.symbol,
        "incomeType": income.kind,
        "income": show_money(income.amount),
        "asset": "USDT",
        "time": income.at_ms,
        "info": income.kind if income.trade_id is None else str(income.trade_id),
        "tranId": income.tran_id,
        "tradeId": "" if income.trade_id is None else str(income.trade_id),
    }


def build_position_v3(ledger: Ledger, position: Position) -> Json:
    """A row of v3 positionRisk: no leverage, no margin type."""
    margin, symbol = ledger.margin, position.symbol
    initial = margin.compute_position_margin(position)
    resting = margin.compute_order_margin(symbol)
    exposure = margin.compute_exposure(symbol)
    return {
        "symbol": symbol,
        "positionSide": position.leg,
        "positionAmt": show_quantity(ledger.markets[symbol].rules, position.amount),
        "entryPrice": show(position.entry_price.quantize(Decimal("0.0000000001"))),
        "breakEvenPrice": show(compute_break_even(position).quantize(Decimal("0.0000000001"))),
        "markPrice": show_money(margin.get_mark(symbol)),
        "unRealizedProfit": show_money(margin.compute_unrealized(position)),
        "liquidationPrice": show(margin.compute_liquidation_price(position).quantize(Decimal("0.00000001"))),
        "isolatedMargin": show_money(_compute_isolated_margin(ledger, position)),
        "notional": show_money(margin.compute_notional(position)),
        "marginAsset": "USDT",
        "isolatedWallet": show_money(position.isolated_wallet),
        "initialMargin": show_money(initial + resting),
        "maintMargin": show_money(margin.compute_maintenance(position)),
        "positionInitialMargin": show_money(initial),
        "openOrderInitialMargin": show_money(resting),
        "adl": 0 if position.is_flat else 2,
        "bidNotional": show_money(exposure.bids),
        "askNotional": show_money(exposure.asks),
        "updateTime": position.updated_ms,
    }


def _compute_isolated_margin(ledger: Ledger, position: Position) -> Decimal:
    if not position.isolated_wallet:
        return ZERO
    return position.isolated_wallet + ledger.margin.compute_unrealized(position)


def build_position_v2(ledger: Ledger, position: Position) -> Json:
    """A row of v2 positionRisk: with the settings of the symbol."""
    settings = ledger.account.get_settings(position.symbol)
    rules = ledger.markets[position.symbol].rules
    row = build_position_v3(ledger, position)
    names = (
        "symbol positionSide positionAmt entryPrice breakEvenPrice markPrice unRealizedProfit liquidationPrice "
        "isolatedMargin notional isolatedWallet updateTime"
    )
    return {
        **{name: row[name] for name in names.split()},
        "leverage": str(settings.leverage),
        "maxNotionalValue": show(rules.get_notional_max(settings.leverage)),
        "marginType": "isolated" if settings.isolated else "cross",
        "isAutoAddMargin": "false",
        "adlQuantile": 0 if position.is_flat else 2,
    }


def build_balance(asset: str, totals: Totals, now_ms: int) -> Json:
    return {
        "accountAlias": "SgsR",
        "asset": asset,
        "balance": show_money(totals.wallet),
        "crossWalletBalance": show_money(totals.cross_wallet),
        "crossUnPnl": show_money(totals.cross_unrealized),
        "availableBalance": show_money(totals.available),
        "maxWithdrawAmount": show_money(min(totals.available, max(totals.cross_wallet, ZERO))),
        "marginAvailable": True,
        "updateTime": now_ms,
    }


def build_balances(ledger: Ledger) -> list[Json]:
    """USDT, and the assets that the account has none of."""
    nothing = Totals(*[ZERO] * 8)
    now_ms = ledger.clock_ms()
    others = [build_balance(asset, nothing, 0) for asset in OTHER_ASSETS]
    return [*others, build_balance("USDT", ledger.margin.compute_totals(), now_ms)]


def build_totals(totals: Totals) -> Json:
    return {
        "totalInitialMargin": show_money(totals.position_margin + totals.order_margin),
        "totalMaintMargin": show_money(totals.maintenance),
        "totalWalletBalance": show_money(totals.wallet),
        "totalUnrealizedProfit": show_money(totals.unrealized),
        "totalMarginBalance": show_money(totals.wallet + totals.unrealized),
        "totalPositionInitialMargin": show_money(totals.position_margin),
        "totalOpenOrderInitialMargin": show_money(totals.order_margin),
        "totalCrossWalletBalance": show_money(totals.cross_wallet),
        "totalCrossUnPnl": show_money(totals.cross_unrealized),
        "availableBalance": show_money(totals.available),
        "maxWithdrawAmount": show_money(min(totals.available, max(totals.cross_wallet, ZERO))),
    }


def build_asset(totals: Totals, now_ms: int) -> Json:
    """The USDT row of the account."""
    sums = build_totals(totals)
    return {
        "asset": "USDT",
        "walletBalance": sums["totalWalletBalance"],
        "unrealizedProfit": sums["totalUnrealizedProfit"],
        "marginBalance": sums["totalMarginBalance"],
        "maintMargin": sums["totalMaintMargin"],
        "initialMargin": sums["totalInitialMargin"],
        "positionInitialMargin": sums["totalPositionInitialMargin"],
        "openOrderInitialMargin": sums["totalOpenOrderInitialMargin"],
        "crossWalletBalance": sums["totalCrossWalletBalance"],
        "crossUnPnl": sums["totalCrossUnPnl"],
        "availableBalance": sums["availableBalance"],
        "maxWithdrawAmount": sums["maxWithdrawAmount"],
        "marginAvailable": True,
        "updateTime": now_ms,
    }


def build_account_v3(ledger: Ledger, positions: Iterable[Position]) -> Json:
    totals = ledger.margin.compute_totals()
    names = (
        "symbol positionSide positionAmt isolatedMargin notional isolatedWallet initialMargin maintMargin updateTime"
    )
    rows = [build_position_v3(ledger, position) for position in positions]
    return {
        **build_totals(totals),
        "assets": [build_asset(totals, ledger.clock_ms())],
        "positions": [
            {**{name: row[name] for name in names.split()}, "unrealizedProfit": row["unRealizedProfit"]} for row in rows
        ],
    }


def build_account_v2(ledger: Ledger, positions: Iterable[Position]) -> Json:
    totals = ledger.margin.compute_totals()
    return {
        **build_account_config(ledger),
        **build_totals(totals),
        "assets": [build_asset(totals, ledger.clock_ms())],
        "positions": [_build_account_position(ledger, position) for position in positions],
    }


def _build_account_position(ledger: Ledger, position: Position) -> Json:
    settings = ledger.account.get_settings(position.symbol)
    row = build_position_v3(ledger, position)
    names = (
        "symbol initialMargin maintMargin positionInitialMargin openOrderInitialMargin entryPrice breakEvenPrice "
        "bidNotional askNotional positionSide positionAmt updateTime"
    )
    return {
        **{name: row[name] for name in names.split()},
        "unrealizedProfit": row["unRealizedProfit"],
        "leverage": str(settings.leverage),
        "isolated": settings.isolated,
        "maxNotional": show(ledger.markets[position.symbol].rules.get_notional_max(settings.leverage)),
    }


def build_account_config(ledger: Ledger) -> Json:
    return {
        "feeTier": 0,
        "canTrade": ledger.account.permission != "NONE",
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": ledger.account.dual_side,
        "updateTime": 0,
        "multiAssetsMargin": ledger.account.multi_assets,
        "tradeGroupId": -1,
    }


def build_symbol_config(ledger: Ledger, symbol: str) -> Json:
    settings = ledger.account.get_settings(symbol)
    return {
        "symbol": symbol,
        "marginType": "ISOLATED" if settings.isolated else "CROSSED",
        "isAutoAddMargin": False,
        "leverage": settings.leverage,
        "maxNotionalValue": show(ledger.markets[symbol].rules.get_notional_max(settings.leverage)),
    }


def build_key_restrictions(*, trades: bool, withdraws: bool, bound: bool) -> Json:
    return {
        "ipRestrict": bound,
        "createTime": 1698645219000,
        "enableReading": True,
        "enableWithdrawals": withdraws,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": trades,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enableSpotAndMarginTrading": False,
        "enablePortfolioMarginTrading": False,
    }
