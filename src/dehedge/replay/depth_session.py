"""A recorded order book from its files to the options of a replay: reads, measures, shows.

Called by ``cli_replay``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dehedge.errors import ConfigError
from dehedge.replay.depth import BOTH, Depth, Fit, Slip, measure
from dehedge.replay.depth_feed import read_feed
from dehedge.replay.rows import Data, make_plain
from dehedge.replay.session import build_figure_table
from dehedge.replay.sheets import format_time

HEADS = ("size, USD", "side", "mean, bps", "median", "worst", "not held", "model", "model less mean")


def measure_depth(files: Sequence[Path], every_s: float, console: Console, *, use_json: bool) -> int:
    """Exit 0. Raises ``ConfigError`` for a file that is wrong or has no book."""
    depths = measure(chain.from_iterable(map(read_feed, files)), round(every_s * 1_000))
    if not depths:
        raise ConfigError(
            f"{files[0]}: has no order book; record the streams @depth@100ms and @bookTicker, and a snapshot"
        )
    if use_json:
        print(json.dumps([build_depth_data(depth) for depth in depths], indent=2))
    for depth in () if use_json else depths:
        _show(depth, console)
    return 0


def _show(depth: Depth, console: Console) -> None:
    for line in describe_depth(depth):
        console.print(Text(line))
    rows = [_build_row(depth, side, slip) for side, slips in depth.slips.items() for slip in slips]
    console.print(build_figure_table(HEADS, rows, texts=2))
    for side, fit in depth.fits.items():
        console.print(Text(f"{depth.symbol}, {'both sides' if side == BOTH else side}: {describe_fit(fit)}"))


def describe_depth(depth: Depth) -> Iterator[str]:
    """What was looked at, and what is to be known of it."""
    first, last = (format_time(at_ms // 1_000) for at_ms in (depth.first_ms, depth.last_ms))
    yield f"{depth.symbol}: {first} to {last}, {depth.looks:,} looks at the book"
    if depth.touch_bps is not None:
        yield f"half the spread between the best prices: {depth.touch_bps:.4f} bps on average"
    if depth.gaps:
        yield f"{depth.gaps} gaps: changes are missing, and nothing was measured from there to the next snapshot"
    if not depth.is_whole:
        yield "no snapshot: only levels that changed are known, and the book was deeper than this"


def describe_fit(fit: Fit) -> str:
    """The options to use."""
    return f"--spread {fit.half_spread_bps:.4f} --depth {round(fit.depth_usd)}"


def _build_row(depth: Depth, side: str, slip: Slip) -> list[str]:
    model = _compute_model(depth.fits[BOTH], slip.size_usd)
    figures = (slip.mean, slip.median, slip.worst)
    told = [f"{figure:.3f}" if figure is not None else "n/a" for figure in figures]
    off = f"{model - slip.mean:+.3f}" if slip.mean is not None else "n/a"
    return [f"{slip.size_usd:,}", side, *told, f"{slip.short:,}", f"{model:.3f}", off]


def _compute_model(fit: Fit, size_usd: int) -> Decimal:
    return fit.half_spread_bps + (size_usd / fit.depth_usd / 2 if fit.depth_usd else 0)


def build_depth_data(depth: Depth) -> Data:
    """The same exactly."""
    return {
        "symbol": depth.symbol,
        "first_ms": depth.first_ms,
        "last_ms": depth.last_ms,
        "looks": depth.looks,
        "gaps": depth.gaps,
        "is_whole": depth.is_whole,
        "touch_bps": make_plain(depth.touch_bps),
        "slips": {
            side: [{name: make_plain(value) for name, value in slip._asdict().items()} for slip in slips]
            for side, slips in depth.slips.items()
        },
        "fits": {
            side: {
                "half_spread_bps": make_plain(fit.half_spread_bps),
                "depth_usd": make_plain(fit.depth_usd),
                "residuals_bps": {str(size_usd): make_plain(off) for size_usd, off in fit.residuals},
            }
            for side, fit in depth.fits.items()
        },
    }
