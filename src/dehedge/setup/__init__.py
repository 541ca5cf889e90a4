"""``dehedge init``: writes ``.env`` and ``markets.toml`` from the real chain's markets and the exchange's symbols.

What the environment gives already is taken over; what only a person can know is asked for, a key without an echo. Nothing is
written before everything was read, and no file is replaced unless that was asked for. Called by ``cli``.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Sequence

from dehedge.config import Settings
from dehedge.environment import DOTENV_FILE
from dehedge.errors import ChainUnavailable, DehedgeError
from dehedge.markets import MARKETS_FILE
from dehedge.setup.answers import Answers
from dehedge.setup.files import render_dotenv, render_markets, write_file
from dehedge.setup.matching import Match, match_markets

SECRET_MODE, OPEN_MODE = 0o600, 0o644


def init_folder(*, is_default: bool, may_replace: bool) -> int:
    """Raises ``DehedgeError`` where it cannot; nothing is written then."""
    if DOTENV_FILE.exists() and not may_replace:
        raise DehedgeError(f"init: {DOTENV_FILE} is there already; edit it, or say --force to replace it")
    if not is_default and not sys.stdin.isatty():
        raise DehedgeError("init: this is no terminal to ask on; say --yes to take the defaults, for paper")
    answers = Answers()

    # The daemon's libraries take over a second to import; what is said above is said before that.
    from dehedge.setup.sources import fetch_markets, fetch_symbols

    # Each by itself: an event loop around the questions would take Ctrl-C for its own.
    def get_markets(settings: Settings) -> Sequence[str]:
        return asyncio.run(fetch_markets(settings))

    if is_default:
        try:
            markets = get_markets(answers.read_settings())
        except ChainUnavailable as error:
            raise DehedgeError(f"init: {error}; name another node: NETWORKS=https://... dehedge init --yes") from None
    else:
        markets = answers.ask_networks(get_markets)
        answers.ask_rest()
    print(f"{answers.node} has {len(markets)} markets of DePerp")
    matches = match_markets(markets, asyncio.run(fetch_symbols(answers.read_settings())))
    _show(matches)
    _write(answers, matches, may_replace=may_replace)
    print("\nNext: `dehedge check` tries everything, `dehedge run` starts")
    return 0


def _show(matches: Sequence[Match]) -> None:
    width = max((len(match.market) for match in matches), default=0)
    for match in matches:
        print(f"  {match.market:{width}}  {match.symbol or f'not hedged: {match.reason}'}")
    if not any(match.symbol for match in matches):
        raise DehedgeError(
            "init: none of these markets can be hedged with what the exchange lists; nothing was written"
        )


def _write(answers: Answers, matches: Sequence[Match], *, may_replace: bool) -> None:
    answers.values.setdefault("HTTP_TOKEN", secrets.token_urlsafe(24))
    content = render_dotenv(answers.get_written())
    write_file(DOTENV_FILE, content, mode=SECRET_MODE, may_replace=may_replace)
    print(f"{DOTENV_FILE} is written, for {answers.values['CONNECTOR']}; only you can read it, for it holds keys")
    if MARKETS_FILE.exists() and not may_replace:
        print(f"{MARKETS_FILE} is there already and stays as it is; --force replaces it")
        return
    write_file(MARKETS_FILE, render_markets(matches), mode=OPEN_MODE, may_replace=may_replace)
    print(
        f"{MARKETS_FILE} is written: {sum(bool(match.symbol) for match in matches)} of {len(matches)} markets are hedged"
    )
