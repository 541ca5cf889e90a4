"""Every benchmark, as one table and one JSON file: ``make bench``; ``ARGS='tick path'`` chooses.

``--short`` is for CI: small books and few rounds, whose figures say little. It fails where a result is wrong or where the cost
of a price grows with the book, which is counted; it never fails because a machine is slow.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog

from bench import burst, idle, memory, path, replay, snapshot, soak, tick
from bench.figures import Figure, describe_machine, format_table, write_json
from bench.growth import check_growth
from bench.plot import write_plot

RESULTS = Path("build/bench.json")
GROWTH_SIZES, SHORT_GROWTH_SIZES = (1_000, 1_000_000), (1_000, 100_000)

Section = Callable[[], Iterable[Figure]]
SECTIONS: Mapping[str, Section] = {
    "tick": tick.run,
    "path": path.run,
    "burst": burst.run,
    "snapshot": snapshot.run,
    "memory": memory.run,
    "idle": idle.run,
    "soak": soak.run,
    "replay": replay.run,
}
SHORT_SECTIONS: Mapping[str, Section] = {
    "tick": lambda: tick.run((1_000, 10_000), ticks=200),
    "path": lambda: path.run((1_000,), orders=20),
    "burst": lambda: burst.run((100,), rounds=2),
    "snapshot": lambda: snapshot.run((1_000,), rounds=2),
    "memory": lambda: memory.run(100_000, rounds=2),
    "idle": lambda: idle.run(seconds=6, warm_up_s=3, sizes=(1_000,)),
    "soak": lambda: soak.run(hours=3, hour_s=120),
    "replay": lambda: replay.run(bars=5_000),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--short", action="store_true", help="as CI does it")
    parser.add_argument("--json", type=Path, default=RESULTS)
    asked = parser.parse_args()
    sections = SHORT_SECTIONS if asked.short else SECTIONS
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    figures: list[Figure] = []
    names = asked.sections or [*sections]
    for name in names:
        say(f"measuring: {name}")
        figures += sections[name]()
    sizes = SHORT_GROWTH_SIZES if asked.short else GROWTH_SIZES
    problems = check_growth(*sizes) if "tick" in names else []
    say("", format_table(figures), "", *(f"{name}: {value}" for name, value in describe_machine().items()))
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(asked.json, figures)
    write_plot(asked.json.with_suffix(".svg"), figures)
    say(f"written: {asked.json} and {asked.json.with_suffix('.svg')}", *problems)
    return 1 if problems else 0


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
