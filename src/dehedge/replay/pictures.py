"""The charts of a replay as PNG files, by matplotlib, which is only needed here and only loaded here.

Draws into memory without a display. Called by ``session``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dehedge.errors import DehedgeError
from dehedge.replay.drawing import format_amount
from dehedge.replay.plots import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#57606a", "#0a58ca", "#a15c00", "#116329", "#7a3ea8", "#b3261e", "#0b7285", "#8a6d00")
MARKERS = {"up": "^", "down": "v", "dot": "o"}
SIZE_INCHES, DOTS_PER_INCH = (11.0, 5.0), 120
LEGEND_KEY_INCHES, LETTER_INCHES = 0.65, 0.09
"""Of a legend's entry: its key with the room around it, and a letter at its widest on average."""
MISSING = "--png needs matplotlib: pip install 'dehedge[replay]'"


def write_pictures(folder: Path, charts: Sequence[Chart]) -> list[Path]:
    """One file for each chart. Raises ``DehedgeError`` where matplotlib is missing or the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        for chart in charts:
            name = re.sub(r"[^A-Za-z0-9.=-]+", "_", chart.name)[:100]
            path = folder / f"{name}.png"
            if path in written:
                path = folder / f"{name}-{len(written)}.png"
            path.write_bytes(draw_picture(chart))
            written.append(path)
        return written
    except OSError as error:
        raise DehedgeError(f"--png: {folder}: {error.strerror}; give another folder") from None


def check_folder(folder: Path) -> None:
    """Raises ``DehedgeError`` where no file could be made in it, or no folder where there is none yet."""
    nearest = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        with TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise DehedgeError(f"--png: {folder}: {error.strerror}; give another folder") from None


def check_drawable() -> None:
    """Raises ``DehedgeError`` where matplotlib is missing: better before a long run than after it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise DehedgeError(MISSING) from None


def draw_picture(chart: Chart) -> bytes:
    """As PNG."""
    content = io.BytesIO()
    # The library's version would make every picture another file.
    build_figure(chart).savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def build_figure(chart: Chart) -> Figure:
    """Before it is drawn. Raises ``DehedgeError`` where matplotlib is missing."""
    check_drawable()
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    _draw(figure.add_subplot(), chart)
    _add_legend(figure, chart)
    return figure


def _draw(axes: Axes, chart: Chart) -> None:
    for curve in chart.curves:
        axes.plot(
            _convert(chart, curve.x), curve.y, label=_escape(curve.label), color=COLORS[curve.color % len(COLORS)],
            linestyle="--" if curve.is_dashed else "-", linewidth=1.6,
        )  # fmt: skip
    places = [value for marks in chart.marks for value in marks.x]
    middle = (min(places) + max(places)) / 2 if places else 0.0
    for marks in chart.marks:
        x = _convert(chart, marks.x)
        axes.scatter(
            x,
            marks.y,
            label=_escape(marks.label),
            color=COLORS[marks.color % len(COLORS)],
            marker=MARKERS[marks.shape],
            zorder=3,
        )
        for place, name in enumerate(marks.names):
            # To the side where there is room; the axes do not shrink for it.
            side, offset = ("left", 7) if marks.x[place] <= middle else ("right", -7)
            axes.annotate(
                _escape(name), (x[place], marks.y[place]), xytext=(offset, 3), textcoords="offset points", ha=side
            ).set_in_layout(False)
    axes.set_title(_escape(chart.title), loc="left")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter(lambda value, _: format_amount(value))


def _add_legend(figure: Figure, chart: Chart) -> None:
    if len(chart.curves) + len(chart.marks) > 1:
        figure.legend(loc="outside lower left", ncols=_count_columns(chart), frameon=False)


def _count_columns(chart: Chart) -> int:
    """As many as the longest label leaves room for."""
    labels = [*(curve.label for curve in chart.curves), *(marks.label for marks in chart.marks)]
    longest = max(map(len, labels))
    return max(1, min(6, len(labels), int(SIZE_INCHES[0] / (LEGEND_KEY_INCHES + longest * LETTER_INCHES))))


def _convert(chart: Chart, x: Sequence[float]) -> NDArray[Any]:
    return (np.array(x) * 1_000).astype("datetime64[ms]") if chart.is_time else np.array(x)


def _escape(text: str) -> str:
    """A dollar sign would begin a formula."""
    return text.replace("$", r"\$")
