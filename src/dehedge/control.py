"""``dehedge pause``, ``resume`` and ``flatten``: tell the running daemon what to do, over its HTTP API.

The token comes from the settings, never from the command line, where others on the machine could read it. ``flatten`` asks
for a typed confirmation and then follows until the exchange's own positions say that nothing of ours is left. The daemon does
the work: it goes on when this process ends.
"""

from __future__ import annotations

import getpass
import json
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from dehedge.client import fetch_answer, format_count, format_time, send_command
from dehedge.config import read_http_token
from dehedge.errors import DehedgeError

POLL_S = 1.0
VIEW_S = 12.0
"""The daemon answers within this time even when the exchange does not."""
WORD = "flatten"
ENDED_MODES = ("active", "halted")
"""In these modes nothing is being flattened any more."""


def pause(url: str, level: str | None, reason: str) -> int:
    """Without a level at least no more opens; what is stricter stays."""
    _command(url, "pause", {"level": level} if level is not None else {}, reason)
    return _print_mode(url)


def resume(url: str, reason: str) -> int:
    _command(url, "resume", {}, reason)
    return _print_mode(url)


def flatten(url: str, reason: str, *, is_confirmed: bool, timeout_s: float, use_json: bool) -> int:
    """Exit 0 once the account is flat, 1 when the time is over and it is not."""
    read_http_token()  # Whoever will not be obeyed need not confirm anything.
    if not is_confirmed:
        _confirm(url)
    _command(url, "flatten", {}, reason)
    try:
        view = _follow(url, timeout_s, use_json=use_json)
    except KeyboardInterrupt:
        print("dehedge: the daemon goes on closing; `dehedge flatten` follows again", file=sys.stderr)
        raise
    if use_json:
        print(json.dumps(view, indent=2))
    else:
        print("\n".join(_describe(view)))
    return 0 if view["flat"] else 1


def _command(url: str, name: str, body: Mapping[str, str], reason: str) -> None:
    """Tell it with who asks: the log and ``dehedge status`` show that."""
    told = ": ".join(filter(None, [_get_caller(), reason]))
    send_command(url, name, {**body, "reason": told}, token=read_http_token())


def _get_caller() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()  # A container's user may have no name.


def _print_mode(url: str) -> int:
    status = fetch_answer(url, "status")
    print(f"mode {status['mode']}{', flattening' if status['is_flattening'] else ''}")
    return 0


def _confirm(url: str) -> None:
    if not sys.stdin.isatty():
        raise DehedgeError("flatten: not confirmed, because this is no terminal to ask on; say --yes to close every hedge")
    status = fetch_answer(url, "status")
    print(
        f"This closes {format_count(status['hedges'], 'hedge')} at the market's price, and nothing opens again until `dehedge resume`."
    )
    try:
        typed = input(f"Type {WORD} to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != WORD:
        raise DehedgeError("flatten: not confirmed, nothing was done")


def _follow(url: str, timeout_s: float, *, use_json: bool) -> Mapping[str, Any]:
    """Ask until it is flat, somebody ends the flattening, or the time is over."""
    deadline, told = time.monotonic() + timeout_s, ""
    while True:
        is_last = time.monotonic() + POLL_S > deadline
        try:
            view = fetch_answer(url, "flat", timeout_s=VIEW_S)
        except DehedgeError as error:
            if is_last:
                raise DehedgeError(f"flatten: told, but not confirmed: {error}") from None
            progress = str(error)
        else:
            if is_last or view["flat"] or (not view["is_flattening"] and view["mode"] in ENDED_MODES):
                return view
            progress = "\n".join(_describe_left(view))
        if progress != told and not use_json:
            print(progress, file=sys.stderr)
        told = progress
        time.sleep(POLL_S)


def _describe(view: Mapping[str, Any]) -> list[str]:
    if view["flat"]:
        head = f"flat: the exchange's positions of {format_time(view['confirmed_at'])} hold nothing of ours"
    else:
        head = f"not flat, mode {view['mode']}{', still closing' if view['is_flattening'] else ''}:"
    return [head, *_describe_left(view)]


def _describe_left(view: Mapping[str, Any]) -> list[str]:
    """A line for what is wrong as a whole, and one for each part that is left."""
    whole = [f"  {view['error']}"] if view["error"] is not None else []
    return whole + ["  {symbol} {leg} {side} {quantity} {owner}: {reason}".format(**part) for part in view["left"]]
