"""A trader book that nobody had: drawn from a seed, the same everywhere and with every version of Python.

Each trader has a stream of draws of his own, of ``random.random`` alone, whose sequence Python promises to keep. He is in the
market or out of it, and leaves either at a constant hazard rate; each time he comes he draws side, size and leverage anew.
Called by ``request``; docs/replay.md tells the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import exp, log
from random import Random
from statistics import NormalDist

from dehedge.errors import QuestionInvalid
from dehedge.replay.model import USDC_UNIT, Trader
from dehedge.replay.sheets import show
from dehedge.replay.traders import build_user

DAY_S = 86_400
SIZE_MIN_USD, SIZE_MAX_USD = 1, 10**9
Mix = Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class BookPlan:
    """What ``--generate`` says. Sizes in USD, times in days; ``gross`` scales what is open at first to that sum."""

    seed: int = 1
    traders: int = 1_000
    long: float = 0.5
    size: float = 10_000
    sigma: float = 1.0
    gross: float = 0
    leverage: Mix = (("5", 0.3), ("10", 0.3), ("20", 0.3), ("50", 0.1))
    hold: float = 3.0
    away: float = 0.0
    markets: Mix = ()


LIMITS: Mapping[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1), "traders": (1, 1_000_000), "long": (0, 1), "size": (1, 10**9), "sigma": (0, 5),
    "gross": (0, 10**12), "hold": (0.001, 10**6), "away": (0, 10**6),
}  # fmt: skip
MIXES = ("leverage", "markets")
LEVERAGE_MAX = 1_000


def parse_plan(text: str) -> BookPlan:
    """``seed=7,traders=1000,long=0.2``; mixes as ``leverage=5:1/20:2``. Raises ``QuestionInvalid``."""
    known = {each.name for each in fields(BookPlan)}
    values: dict[str, object] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.strip().partition("=")
        if name not in known:
            raise QuestionInvalid(f"--generate: {name[:40]!r} is unknown; known are {', '.join(sorted(known))}")
        values[name] = _parse_mix(name, value) if name in MIXES else _parse_number(name, value)
    return BookPlan(**values)  # type: ignore[arg-type]


def _parse_number(name: str, text: str) -> float:
    low, high = LIMITS[name]
    try:
        number = int(text) if name in ("seed", "traders") else float(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise QuestionInvalid(f"--generate: {name}={show(text)} is not a number from {low:g} to {high:g}")
    return number


def _parse_mix(name: str, text: str) -> Mix:
    mix = []
    for part in text.split("/"):
        choice, _, weight = part.partition(":")
        try:
            mix.append((choice, float(weight or 1)))
        except ValueError:
            raise QuestionInvalid(f"--generate: {name}: {part[:40]!r} is not NAME:WEIGHT") from None
        is_leverage = choice.isascii() and choice.isdigit() and 1 <= int(choice[:9]) <= LEVERAGE_MAX
        if not choice or not 0 < mix[-1][1] <= 10**9 or (name == "leverage" and not is_leverage):
            raise QuestionInvalid(
                f"--generate: {name}: {part[:40]!r} is not such as {'20:0.5' if name == 'leverage' else 'BTC-USD:2'}"
            )
    return tuple(mix)


def generate_traders(plan: BookPlan, markets: Sequence[str], span: tuple[int, int]) -> list[Trader]:
    """Over the span (from, until, in seconds since the epoch), sorted by opening. Raises ``QuestionInvalid``."""
    unknown = [name for name, _ in plan.markets if name not in markets]
    if unknown:
        raise QuestionInvalid(f"--generate: markets: {unknown[0][:40]!r} has no prices; there are {', '.join(markets)}")
    mix = plan.markets or tuple((market, 1.0) for market in sorted(markets))
    traders = [trader for number in range(plan.traders) for trader in _Trader(plan, mix, number).live(span)]
    if plan.gross:
        traders = _scale_to_gross(traders, plan.gross, span[0])
    return sorted(traders, key=lambda trader: (trader.opened_s, trader.user))


class _Trader:
    """One trader and his draws."""

    def __init__(self, plan: BookPlan, markets: Mix, number: int) -> None:
        self._plan = plan
        self._random = Random((plan.seed << 32) + number)  # noqa: S311  (a book, no secret)
        self._user = build_user(number)
        self._market = self._choose(markets)

    def live(self, span: tuple[int, int]) -> list[Trader]:
        at_s, until_s = span
        hold_s, away_s = self._plan.hold * DAY_S, self._plan.away * DAY_S
        positions = []
        if self._draw() >= hold_s / (hold_s + away_s):
            at_s += self._wait(away_s)
        while at_s < until_s:
            closed_s = at_s + self._wait(hold_s)
            positions.append(self._open(at_s, closed_s if closed_s < until_s else None))
            at_s = closed_s + self._wait(away_s)
        return positions

    def _open(self, at_s: int, closed_s: int | None) -> Trader:
        plan = self._plan
        is_long = self._draw() < plan.long
        # A draw is no money yet; it becomes so when it is rounded to whole dollars.
        drawn = plan.size * exp(min(plan.sigma * NormalDist().inv_cdf(self._draw() or 0.5), 40.0))
        size = min(max(round(drawn), SIZE_MIN_USD), SIZE_MAX_USD) * USDC_UNIT
        collateral = size // int(self._choose(plan.leverage))
        return Trader(self._market, self._user, is_long, size, collateral, None, at_s, closed_s)

    def _choose(self, mix: Mix) -> str:
        drawn = self._draw() * sum(weight for _, weight in mix)
        for choice, weight in mix:
            drawn -= weight
            if drawn < 0:
                return choice
        return mix[-1][0]

    def _wait(self, mean_s: float) -> int:
        """Exponential; at least a second, in which he has what he had."""
        return max(round(-mean_s * log(1.0 - self._draw())), 1)

    def _draw(self) -> float:
        return self._random.random()


def _scale_to_gross(traders: Sequence[Trader], gross_usd: float, start_s: int) -> list[Trader]:
    total = sum(trader.size for trader in traders if trader.opened_s <= start_s)
    gross = round(gross_usd) * USDC_UNIT
    if not total:
        return list(traders)
    return [
        trader._replace(size=max(trader.size * gross // total, 1), collateral=trader.collateral * gross // total)
        for trader in traders
    ]
