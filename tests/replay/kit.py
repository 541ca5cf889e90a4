"""Runs that no engine made, and small files: what the readers, the report and the command line are tried with."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from dehedge.core.model import Side
from dehedge.replay.model import Costs, Figures, History, Policy, Progress, Run, Series, Trade

START_S = 1_584_013_260
HEADER = "open_time,open,high,low,close,volume"
ROWS = ("6082.80,6090.21,5984.01,5985.20,1234.697", "5985.20,6004.83,5900.00,5912.76,1573.415", "5912.76,5950,5633.9,5700.1,99")


def write_klines(path: Path, rows: Sequence[str] = ROWS, *, first_s: int = START_S, header: str = HEADER, unit: int = 1_000) -> Path:
    lines = [f"{(first_s + 60 * place) * unit},{row}" for place, row in enumerate(rows)]
    path.write_text("\n".join([header, *lines, ""] if header else [*lines, ""]))
    return path


def build_figures(**changes: object) -> Figures:
    money = dict.fromkeys(
        ("worst_loss", "worst_avoided", "worst_net", "vault_start", "worst_unhedged", "worst_hedged", "worst_hedged_free", "loss", "avoided", "net",
         "vault_unhedged", "vault_hedged", "hedge_profit", "hedge_error", "fees", "funding", "slippage", "cost", "price_moved", "margin_peak"), Decimal(0),
    )  # fmt: skip
    counts = dict.fromkeys(("opens", "closes", "resizes", "orders", "liquidations", "opens_refused"), 0)
    shares = dict.fromkeys(("worst_protection_free", "worst_protection", "protection", "cost_share", "cost_per_dollar"))
    return Figures(**{**money, **counts, **shares, "unhedged_s": 0.0, **changes})  # type: ignore[arg-type]


def run_fake(history: History, costs: Costs, policy: Policy, progress: Progress) -> Run:
    """As an engine is called; the vault loses 10 USD a point, and a policy with hedges avoids nine of them for one."""
    progress(0.5)
    hedged = policy.hedging is not None
    time_s = np.array([START_S, START_S + 60, START_S + 120], dtype=float)
    without = np.array([1_000.0, 990.0, 980.0])
    series = Series(
        time_s=time_s, vault_unhedged=without, vault_hedged=np.array([1_000.0, 998.0, 996.0]) if hedged else without,
        shield=np.zeros(3), prices={market: bars.close[:3] / 1e8 for market, bars in history.bars.items()},
        hedged_notional=np.zeros(3), margin_used=np.zeros(3), cost=np.array([0.0, 1.0, 2.0]) if hedged else np.zeros(3),
    )  # fmt: skip
    figures = build_figures(
        vault_start=Decimal(1_000), vault_unhedged=Decimal(980), vault_hedged=Decimal(996) if hedged else Decimal(980),
        loss=Decimal(20), avoided=Decimal(18) if hedged else Decimal(0), protection=Decimal("0.9") if hedged else Decimal(0),
        worst_loss=Decimal(40), worst_avoided=Decimal(30) if hedged else Decimal(0), worst_protection_free=Decimal("0.75") if hedged else Decimal(0),
        worst_protection=Decimal("0.7") if hedged else Decimal(0), cost=Decimal(2) if hedged else Decimal(0), opens=int(hedged), unhedged_s=90.0,
    )  # fmt: skip
    market = next(iter(history.bars))
    trade = Trade(START_S + 30.5, market, "open", Side.SELL, Decimal("0.1"), Decimal(6_000), Decimal(6_001), Decimal("0.3"), "at_risk")
    trades = [trade, trade._replace(at_s=START_S + 100.0, kind="close", side=Side.BUY)] if hedged else []
    return Run(policy, figures, series, trades)
