"""A report as CSV: one row for each hedge, exact amounts, times in ISO format, nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from dehedge.core.report import HedgeReport, Report
from dehedge.reporting.rows import build_hedge, build_standing, describe_others

COLUMNS = (
    "market", "position_id", "symbol", "side", "opened_at", "opened_for", "closed_at", "closed_for", "quantity", "held",
    "price_in", "price_out", "traded_usd", "slippage_usd", "slippage_bps", "fees_usd", "other_fees", "funding_usd",
    "other_funding", "realized_usd", "net_usd", "vault_loss_without_usd", "estimated_fills", "open_price",
    "open_unrealized_usd", "open_vault_loss_without_usd",
)  # fmt: skip
TEXTS = ("market", "position_id", "symbol", "opened_for", "closed_for")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet takes for a formula; names come from the chain."""


def render_csv(report: Report) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for market in report.markets:
        writer.writerows(_build_row(hedge) for hedge in market.hedges)
    return out.getvalue()


def _build_row(hedge: HedgeReport) -> dict[str, object]:
    data, standing = dict(build_hedge(hedge)), build_standing(hedge) or {}
    data |= {"opened_at": _show_time(hedge.life.opened_at), "closed_at": _show_time(hedge.life.closed_at)}
    data |= {"other_fees": describe_others(hedge.sums.fees), "other_funding": describe_others(hedge.sums.funding)}
    data |= {name: _disarm(str(data[name])) for name in TEXTS}
    data |= {
        "open_price": standing.get("price"),
        "open_unrealized_usd": standing.get("unrealized_usd"),
        "open_vault_loss_without_usd": standing.get("vault_loss_without_usd"),
    }
    return {name: data[name] for name in COLUMNS}


def _disarm(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _show_time(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at is not None else ""
