"""As much of PromQL as the alerts use, so that they can be tried where there is no promtool.

The parser is a library's; here is the evaluation, of few functions and without Prometheus's extrapolation: ``increase`` and
``rate`` are what the samples in the window really grew by. What an alert uses beyond that is an error and never a guess.
``tests/test_alerts.py`` holds this against promtool where that is on the machine.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import promql_parser as ast

STEP_S = 15
LOOKBACK_S = 300

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Samples = Sequence[float | None]
"""One each ``STEP_S`` from time 0; None is a scrape without the series."""


class Unsupported(Exception):
    """The expression needs more than is here."""


OPERATORS: Mapping[str, Callable[[float, float], float | bool]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul,
    "/": lambda left, right: left / right if right else nan,
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}
SETS = {"and", "or", "unless"}
MATCHES: Mapping[str, Callable[[str, str], bool]] = {
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "Re": lambda value, pattern: re.fullmatch(pattern, value) is not None,
    "NotRe": lambda value, pattern: re.fullmatch(pattern, value) is None,
}


def parse_samples(text: str) -> list[float | None]:
    """promtool's notation: ``1 2 _ 3``, ``0x5`` (six times 0), ``1+2x3`` (1 3 5 7)."""
    found: list[float | None] = []
    for word in text.split():
        match = re.fullmatch(r"(?P<start>-?[\d.]+)(?P<step>[+-][\d.]+)?(?:x(?P<times>\d+))?", word)
        if word == "_" or match is None:
            assert word == "_", f"no samples: {word}"
            found.append(None)
            continue
        start, step = float(match["start"]), float(match["step"] or 0)
        found += [start + step * number for number in range(int(match["times"] or 0) + 1)]
    return found


def parse_series(text: str) -> Labels:
    """The labels of ``name{label="value"}``, the name among them."""
    selector = ast.parse(text)
    named = [(matcher.name, matcher.value) for matcher in selector.matchers.matchers]
    return frozenset([("__name__", selector.name), *named])


@dataclass(frozen=True)
class Database:
    """Series by their labels, scraped from time 0 on."""

    series: Mapping[Labels, Samples]

    def evaluate(self, expression: ast.Expr, at: int) -> Vector | float:
        match expression:
            case ast.NumberLiteral():
                return float(expression.val)
            case ast.ParenExpr():
                return self.evaluate(expression.expr, at)
            case ast.VectorSelector():
                return {key: value for key in self._select(expression) if (value := self._get(key, at)) is not None}
            case ast.Call():
                return self._call(expression, at)
            case ast.BinaryExpr():
                return self._combine(expression, at)
        raise Unsupported(type(expression).__name__)

    def _select(self, selector: ast.VectorSelector) -> list[Labels]:
        if selector.offset is not None or selector.at is not None or selector.matchers.or_matchers:
            raise Unsupported(str(selector))
        return [key for key in self.series if check_selected(dict(key), selector)]

    def _get(self, key: Labels, at: int) -> float | None:
        """The newest sample; one scrape without the series ends it."""
        samples, place = self.series[key], at // STEP_S
        return samples[place] if place < len(samples) else None

    def _get_window(self, key: Labels, at: int, range_s: float) -> list[float]:
        first = max(0, int((at - range_s) // STEP_S))
        return [value for value in self.series[key][first : at // STEP_S + 1] if value is not None]

    def _call(self, call: ast.Call, at: int) -> Vector:
        (argument,) = call.args
        if call.func.name == "absent":
            return {} if self.evaluate(argument, at) else {frozenset(): 1.0}
        if call.func.name not in ("increase", "rate", "changes"):
            raise Unsupported(call.func.name)
        range_s = argument.range.total_seconds()
        windows = {key: self._get_window(key, at, range_s) for key in self._select(argument.vector_selector)}
        measure = count_changes if call.func.name == "changes" else count_growth
        divisor = range_s if call.func.name == "rate" else 1.0
        return {strip(key): measure(window) / divisor for key, window in windows.items() if len(window) > 1}

    def _combine(self, expression: ast.BinaryExpr, at: int) -> Vector:
        name, modifier = str(expression.op), expression.modifier
        left, right = self.evaluate(expression.lhs, at), self.evaluate(expression.rhs, at)
        if modifier is not None and modifier.return_bool:
            raise Unsupported("bool")
        if name in SETS and isinstance(left, dict) and isinstance(right, dict):
            return combine_sets(name, left, right, modifier.matching if modifier is not None else None)
        if name not in OPERATORS or (modifier is not None and modifier.matching is not None):
            raise Unsupported(str(expression))
        return combine_values(name, left, right)


def check_selected(labels: dict[str, str], selector: ast.VectorSelector) -> bool:
    return labels["__name__"] == selector.name and all(
        MATCHES[str(matcher.op).rpartition(".")[2]](labels.get(matcher.name, ""), matcher.value)
        for matcher in selector.matchers.matchers
    )


def count_growth(window: Sequence[float]) -> float:
    return sum(after - before if after >= before else after for before, after in zip(window, window[1:], strict=False))


def count_changes(window: Sequence[float]) -> float:
    return sum(before != after for before, after in zip(window, window[1:], strict=False))


def strip(key: Labels) -> Labels:
    return frozenset(pair for pair in key if pair[0] != "__name__")


def combine_sets(name: str, left: Vector, right: Vector, matching: ast.LabelModifier | None) -> Vector:
    def reduce(key: Labels) -> Labels:
        if matching is None:
            return strip(key)
        if not str(matching.type).endswith("Include"):
            raise Unsupported(str(matching))
        return frozenset(pair for pair in key if pair[0] in matching.labels)

    there = {reduce(key) for key in right}
    if name == "or":
        known = {reduce(key) for key in left}
        return {**left, **{key: value for key, value in right.items() if reduce(key) not in known}}
    return {key: value for key, value in left.items() if (reduce(key) in there) is (name == "and")}


def combine_values(name: str, left: Vector | float, right: Vector | float) -> Vector:
    """Comparisons filter and keep the left value, arithmetic loses the name; vectors meet where all labels are the same."""
    if isinstance(left, float) and isinstance(right, dict):
        if name in COMPARISONS:
            raise Unsupported("a comparison that begins with a number")
        return {strip(key): float(OPERATORS[name](left, value)) for key, value in right.items()}
    assert isinstance(left, dict), "two numbers make no alert"
    others = {strip(key): value for key, value in right.items()} if isinstance(right, dict) else None
    found: Vector = {}
    for key, value in left.items():
        other = right if others is None else others.get(strip(key))
        if not isinstance(other, float):
            continue
        result = OPERATORS[name](value, other)
        if name not in COMPARISONS:
            found[strip(key)] = float(result)
        elif result:
            found[key] = value
    return found


def find_firing(database: Database, expression: str, for_s: int, until_s: int) -> set[Labels]:
    """The labels of what fires at the end, having been true for so long without a break."""
    parsed, since = ast.parse(expression), dict[Labels, int]()
    for at in range(0, until_s + 1, STEP_S):
        true = database.evaluate(parsed, at)
        assert isinstance(true, dict), "an alert is a vector"
        since = {strip(key): since.get(strip(key), at) for key in true}
    return {key for key, began in since.items() if until_s - began >= for_s}
