"""``dehedge status`` and ``dehedge hedges``: ask the running daemon over its HTTP API and print the answer.

Also what ``control`` asks and tells the daemon by. Whoever listens on the port may not be the daemon: an answer is checked
before it is believed, and a token is sent only to what has answered like one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dehedge.addresses import hide_userinfo
from dehedge.config import read_http_address
from dehedge.errors import DehedgeError, QuestionInvalid

TIMEOUT_S = 5.0
CENT = Decimal("0.01")
PIPE_WIDTH = 1_000
"""Where no terminal says how wide: a table is as wide as what is in it, and nothing is cut."""
NARROW = 240
"""Columns of a terminal below which an address is told by its ends, because whole it would be cut in the longest table."""
KEYS = {
    "status": {"version", "connector", "ready", "reasons", "mode", "snapshot", "prices", "decisions", "hedges",
               "orders_in_flight", "deployment", "foreign_positions"},
    "hedges": {"hedges", "total", "markets"},
    "flat": {"flat", "confirmed_at", "is_flattening", "mode", "error", "left"},
    "explain": {"decision", "reason", "position", "checks", "text"},
    "trips": {"trips"},
    "whatif": {"moves", "prices", "opens", "held", "closes", "cooling", "liquidated", "counts", "margin", "vault"},
}
"""What an answer of the daemon holds at least; something else may listen on the port."""


def print_status(url: str, *, use_json: bool) -> int:
    """Exit 0 when the daemon is ready, 1 when it is not."""
    status = fetch_answer(url, "status")
    if use_json:
        print(json.dumps(status, indent=2))
    else:
        _show_status(status)
    return 0 if status["ready"] else 1


def print_hedges(url: str, *, use_json: bool) -> int:
    answer = fetch_hedges(url)
    if use_json:
        print(json.dumps(answer, indent=2))
        return 0
    console = build_console()
    table = Table("market", "position", "side", "quantity", "wanted", "status", "opened", "reason", "decision")
    for name in ("profit USD", "fees USD", "funding USD"):
        table.add_column(name, justify="right")
    for row in answer["hedges"]:
        table.add_row(
            row["market"], show_trader(row["position_id"], is_wide=check_wide(console)), row["side"], row["quantity"], row["target"], row["status"],
            format_time(row["opened_at"]), row["reason"], row["decision"] or "", format_money(row["profit_usd"]),
            format_fees(row), format_money(row["funding_usd"]),
        )  # fmt: skip
    console.print(table if answer["hedges"] else "no hedges")
    return 0


def fetch_hedges(url: str) -> dict[str, Any]:
    """All of them, page by page. Raises ``DehedgeError`` where nobody answers."""
    answer = fetch_answer(url, "hedges")
    pages = [answer["hedges"]]
    while pages[-1] and sum(map(len, pages)) < answer["total"]:
        pages.append(fetch_answer(url, "hedges", {"offset": str(sum(map(len, pages)))})["hedges"])
    # One that comes or goes meanwhile moves the others from page to page.
    rows = {(row["market"], row["position_id"]): row for page in pages for row in page}
    return {**answer, "hedges": list(rows.values())}


def format_money(amount: str | None) -> str:
    """With its sign, to the cent; nothing where it is not known."""
    return f"{Decimal(amount):+,.2f}" if amount is not None else ""


def format_fees(hedge: Mapping[str, Any]) -> str:
    """Dollars to the cent, and what was paid in anything else."""
    if hedge["fees_usd"] is None:
        return ""
    others = (f"{amount} {asset}" for asset, amount in sorted(hedge["other_fees"].items()))
    return " + ".join([f"{Decimal(hedge['fees_usd']):,.2f}", *others])


def describe_daemon(status: Mapping[str, Any]) -> str:
    """Its version, and where its orders go, loudly where that is not the exchange itself."""
    account, endpoint = status.get("account", ""), status.get("endpoint", "")
    where = f" (OWN ENDPOINT {endpoint})" if endpoint else f" ({account.upper()})" if account in ("demo", "paper") else ""
    return f"dehedge {status['version']} on {status['connector']}{where}"


def format_usd(amount: str) -> str:
    """To the cent, with thousands apart; what is less than a cent keeps its digits."""
    exact = Decimal(amount)
    return f"{exact:,.2f}" if not exact or abs(exact) >= CENT else amount


def _show_status(status: Mapping[str, Any]) -> None:
    console = build_console()
    state = ("ready", "green") if status["ready"] else ("not ready", "red")
    console.print(Text.assemble(f"{describe_daemon(status)}: ", state, f", mode {status['mode']}"))
    if status.get("mode_since"):
        console.print(f"mode {status['mode']} since {format_time(status['mode_since'])}: {status['reason']}")
    for reason in status["reasons"]:
        console.print(Text.assemble(("  - ", "red"), reason))
    for warning in status.get("warnings", []):
        console.print(Text.assemble(("  ! ", "yellow"), warning))
    console.print(f"deployment {status['deployment']}: its orders are called dh-{status['deployment']}-...")
    if status["foreign_positions"]:
        foreign = ", ".join(f"{quantity} {where}" for where, quantity in status["foreign_positions"].items())
        console.print(f"foreign positions, never traded: {foreign}")
    snapshot = status["snapshot"]
    if snapshot:
        console.print(
            f"block {snapshot['block_number']}: {format_count(snapshot['positions'], 'position')}, vault {format_usd(snapshot['vault'])} USDC,"
            f" shield {format_usd(snapshot['shield'])} USDC"
        )
    if status.get("portfolio") is not None:
        console.print(status["portfolio"]["text"])
    for market, price in status["prices"].items():
        console.print(f"{market}: {price['price']}")
    for guard in status.get("guards", []):
        if guard["held"]:
            console.print(Text.assemble(("  - ", "yellow"), describe_guard(guard)))
    decisions = ", ".join(f"{count} {reason}" for reason, count in sorted(status["decisions"].items()))
    held = f"{format_count(status['hedges'], 'hedge')}, {format_count(len(status['orders_in_flight']), 'order')} in flight"
    console.print(f"{held}; {decisions}" if decisions else held)


def format_time(at: float) -> str:
    """To the second, with its zone."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def format_count(count: int, noun: str, plural: str = "") -> str:
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def describe_guard(guard: Mapping[str, Any]) -> str:
    where = "" if guard["scope"] == "all" else f" in {guard['scope']}"
    used = f"{guard['used']} of " if guard["used"] is not None else ""
    held = format_count(guard["held"], "open or increase", "opens or increases")
    return f"{guard['guard']} holds {held}{where}: {used}{guard['limit']} ({guard['variable']})"


def show_trader(position_id: str, *, is_wide: bool) -> str:
    """The address, where there is room for it: its ends tell one from the other."""
    trader = position_id.split("|", maxsplit=1)[0]
    return trader if is_wide else f"{trader[:6]}…{trader[-4:]}"


def check_wide(console: Console) -> bool:
    """True where there is room for whole addresses."""
    return console.width >= NARROW


def build_console() -> Console:
    """Without markup, because reasons hold brackets; a line stays one line where no terminal sets a width."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def fetch_answer(
    url: str, what: str, query: Mapping[str, str | list[str]] | None = None, *, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """The answer of the daemon. Raises ``DehedgeError`` where there is none, or somebody else's."""
    base = get_base(url)
    try:
        # Without the environment's proxies, which know nothing of this machine.
        response = httpx.get(f"{base}/api/v1/{what}", params=query, timeout=timeout_s, trust_env=False)
        _check_refused(response, what)
        response.raise_for_status()
        answer = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        shown = f"{hide_userinfo(base)} ({type(error).__name__})"
        raise DehedgeError(f"no daemon answers at {shown}; start it by `dehedge run`, or see --url") from error
    if not isinstance(answer, dict) or not answer.keys() >= KEYS[what]:
        raise DehedgeError(f"what answers at {hide_userinfo(base)} is not dehedge; see --url")
    return answer


def _check_refused(response: httpx.Response, what: str) -> None:
    """A refusal of the daemon's is told in its own words, made one line."""
    if response.is_success or response.headers.get("Server") != "dehedge":
        return
    words = "".join(sign if sign.isprintable() else "?" for sign in _get_words(response))
    if response.status_code == httpx.codes.BAD_REQUEST:
        raise QuestionInvalid(words)
    if response.status_code == httpx.codes.NOT_FOUND:
        raise DehedgeError(f"the daemon does not know `{what}`: it is of another version; restart it with this one")
    raise DehedgeError(words)


def send_command(url: str, name: str, body: Mapping[str, str], *, token: str) -> None:
    """Tell the daemon to do something. Raises ``DehedgeError`` unless it says that it does."""
    fetch_answer(url, "status")
    base = get_base(url)
    shown = hide_userinfo(base)
    headers = {b"Authorization": b"Bearer " + token.encode()}
    try:
        response = httpx.post(
            f"{base}/api/v1/{name}", json=body, headers=headers, timeout=TIMEOUT_S, trust_env=False
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DehedgeError(
            f"{name}: no answer from {shown} ({type(error).__name__}), so it may be in force or not: `dehedge status` tells"
        ) from None
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise DehedgeError(f"{name}: the daemon at {shown} does not obey this HTTP_TOKEN; use the one it was started with")
    if response.status_code != httpx.codes.ACCEPTED:
        raise DehedgeError(f"{name}: the daemon at {shown} refused: {_get_words(response).replace(token, '***')}")


def _get_words(response: httpx.Response) -> str:
    """What a refusal says, or its status where it does not say it in our way."""
    try:
        words = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
    return str(words)


def get_base(url: str) -> str:
    """What was given is not repeated: without its scheme nobody can tell where a password in it ends."""
    if url and not url.startswith(("http://", "https://")):
        raise DehedgeError("--url: begin with http:// (or https://), such as http://127.0.0.1:8780")
    return url.rstrip("/") or _get_configured_url()


def _get_configured_url() -> str:
    address = read_http_address()
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    host = anywhere.get(address.http_host, address.http_host)
    if not address.http_port:
        raise DehedgeError("HTTP_PORT=0 lets the daemon pick a port: it is in its log as http_started; give it by --url")
    return f"http://[{host}]:{address.http_port}" if ":" in host else f"http://{host}:{address.http_port}"
