"""What a search tries: the combinations of what is varied, each setting only where it counts, and nothing twice.

Of more than are to be tried a sample, drawn by the seed. Called by ``tune_session``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import prod
from random import Random
from typing import NamedTuple

from dehedge.errors import QuestionInvalid
from dehedge.replay.choices import check_varies, get_field, identify

TRIES_MAX = 10_000
ENUMERATED_MAX = 2_000
"""Combinations that are all looked at for what is twice; of more, those that are drawn."""
DRAWS_MAX = 3
"""For each that is to be tried; what is drawn may be what was drawn before under another name."""
SCOPE = "risk_scope"


class Varied(NamedTuple):
    """A setting and what is tried for it."""

    name: str
    values: Sequence[str]


class Block(NamedTuple):
    """A policy, and what counts in it of what is varied."""

    policy: str
    varied: Sequence[Varied]

    @property
    def size(self) -> int:
        return prod(len(each.values) for each in self.varied)


def parse_varied(texts: Sequence[str]) -> list[Varied]:
    """``expiry=60,300,900``, each setting once. Raises ``QuestionInvalid``."""
    found: dict[str, Varied] = {}
    for text in texts:
        name, _, values = text.partition("=")
        kept = list(dict.fromkeys(value.strip() for value in values.split(",") if value.strip()))
        if not name or not kept or ":" in text:
            raise QuestionInvalid(f"--vary: {text[:80]!r} is not such as expiry=60,300,900")
        if get_field(name) in found:
            raise QuestionInvalid(f"--vary: {name[:40]} is there twice; name all its values at once")
        found[get_field(name)] = Varied(name.lower(), kept)
    return list(found.values())


def list_candidates(presets: Sequence[str], varied: Sequence[Varied], tries: int, seed: int) -> list[str]:
    """Each preset with each combination, in order; of more than ``tries`` so many, drawn by the seed."""
    blocks = list(_list_blocks(presets, varied))
    total = sum(block.size for block in blocks)
    if total <= ENUMERATED_MAX:
        every = _keep_first(_name_place(blocks, place) for place in range(total))
        places: Sequence[int] = range(len(every)) if len(every) <= tries else _draw_places(len(every), tries, seed)
        return [every[place] for place in places]
    drawn = _draw_places(total, min(total, tries * DRAWS_MAX), seed, is_sorted=False)
    kept = {*_keep_first(_name_place(blocks, place) for place in drawn)[:tries]}
    return [name for name in dict.fromkeys(_name_place(blocks, place) for place in sorted(drawn)) if name in kept]


def list_idle(presets: Sequence[str], varied: Sequence[Varied]) -> list[str]:
    """In words what is varied and counts for nothing in a policy."""
    idle: dict[str, list[str]] = {}
    for block in _list_blocks(presets, varied):
        for each in varied:
            if each not in block.varied and get_field(each.name) != SCOPE:
                idle.setdefault(block.policy, []).append(each.name)
    return [f"{policy}: {', '.join(names)} counts for nothing there and is not varied" for policy, names in idle.items()]


def _list_blocks(presets: Sequence[str], varied: Sequence[Varied]) -> Iterator[Block]:
    """Whether positions are judged together says what counts, so each value of that is a block of its own."""
    scope = next((each for each in varied if get_field(each.name) == SCOPE), None)
    for preset in presets:
        policies = [f"{preset}:{scope.name}={value}" for value in scope.values] if scope is not None else [preset]
        for policy in policies:
            yield Block(policy, [each for each in varied if each is not scope and check_varies(policy, each.name)])


def _name_place(blocks: Sequence[Block], place: int) -> str:
    ends = list(accumulate(block.size for block in blocks))
    number = next(number for number, end in enumerate(ends) if place < end)
    block, place = blocks[number], place - (ends[number] - blocks[number].size)
    changes: list[str] = []
    for each in reversed(block.varied):
        place, digit = divmod(place, len(each.values))
        changes.append(f"{each.name}={each.values[digit]}")
    return ":".join([block.policy, *changes[::-1]])


def _keep_first(names: Iterator[str]) -> list[str]:
    """Of those that decide alike."""
    found: dict[object, str] = {}
    for name in names:
        found.setdefault(identify(name), name)
    return list(found.values())


def _draw_places(total: int, count: int, seed: int, *, is_sorted: bool = True) -> Sequence[int]:
    """Without repetition, by the one sequence that Python promises to keep."""
    chance, drawn = Random(seed), dict[int, None]()  # noqa: S311  (a search, no secret)
    while len(drawn) < count:
        drawn[int(chance.random() * total)] = None
    return sorted(drawn) if is_sorted else list(drawn)
