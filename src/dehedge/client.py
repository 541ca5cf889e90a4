"""``dehedge status`` and ``dehedge hedges``: ask the running daemon over its HTTP API and print the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from dehedge.config import read_settings
from dehedge.errors import DehedgeError

TIMEOUT_S = 5.0


def print_status(url: str, *, use_json: bool) -> int:
    """Exit 0 when the daemon is ready, 1 when it is not."""
    status = _fetch(url, "status")
    if use_json:
        print(json.dumps(status, indent=2))
    else:
        _show_status(status)
    return 0 if status["ready"] else 1


def print_hedges(url: str, *, use_json: bool) -> int:
    hedges = _fetch(url, "hedges")
    if use_json:
        print(json.dumps(hedges, indent=2))
        return 0
    table = Table("market", "position", "side", "quantity", "status", "opened", "reason", "decision")
    for row in hedges["hedges"]:
        opened = datetime.fromtimestamp(row["opened_at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(
            row["market"], row["position_id"].split("|")[0], row["side"], row["quantity"], row["status"], opened,
            row["reason"], row["decision"] or "",
        )  # fmt: skip
    Console().print(table if hedges["hedges"] else "no hedges")
    return 0


def _show_status(status: Mapping[str, Any]) -> None:
    console = Console()
    state = "[green]ready[/]" if status["ready"] else "[red]not ready[/]"
    console.print(f"dehedge {status['version']} on {status['connector']}: {state}, mode {status['mode']}")
    for reason in status["reasons"]:
        console.print(f"  [red]-[/] {reason}", highlight=False)
    snapshot = status["snapshot"]
    if snapshot:
        console.print(
            f"block {snapshot['block_number']}: {snapshot['positions']} positions, vault {snapshot['vault']} USDC,"
            f" shield {snapshot['shield']} USDC"
        )
    for market, price in status["prices"].items():
        console.print(f"{market}: {price['price']}")
    decisions = ", ".join(f"{count} {reason}" for reason, count in sorted(status["decisions"].items()))
    console.print(f"{status['hedges']} hedges, {len(status['orders_in_flight'])} orders in flight; {decisions}")


def _fetch(url: str, what: str) -> Any:
    base = url or _get_configured_url()
    try:
        response = httpx.get(f"{base}/api/v1/{what}", timeout=TIMEOUT_S)
        response.raise_for_status()
        return response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise DehedgeError(f"no daemon answers at {base} ({type(error).__name__}); is it running? see --url") from error


def _get_configured_url() -> str:
    settings = read_settings()
    host = "127.0.0.1" if settings.http_host in ("0.0.0.0", "::") else settings.http_host  # noqa: S104
    return f"http://{host}:{settings.http_port}"
