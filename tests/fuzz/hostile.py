"""Good payloads made bad: what a hostile or broken sender makes of a document, and how many of them are tried.

Hypothesis gives the seed of each batch and replays a failing one; the spoiling itself is plain code, because a strategy
for it costs a hundred times as much. ``FUZZ_SCALE`` multiplies the number of batches; ``make fuzz`` sets it. ``hurried``
is the other half of the law: a parser may not take long over anything that fits into a message.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SCALE = float(os.environ.get("FUZZ_SCALE", "1"))
BATCH = 25
"""Payloads for each seed."""

CPU_MAX_S = 2.0
"""Far above what any good message costs, and far below what a quadratic step makes of a bad one."""

SHOWN_MAX = 2_000

seeds = st.randoms(use_true_random=True)

RAW_NUMBERS = ("1e999", "-1e999", "9" * 4_400, "-" + "9" * 4_299, "1E400", "1e-400", "-0", "1.5", "NaN", "-Infinity", "0e999")
RAW = (*RAW_NUMBERS, *("[" * depth + "]" * depth for depth in (3, 40, 500, 900, 940, 960, 970, 980, 990)))
"""What ``json.dumps`` would not write: numbers as they stand, and nests up to what a parser can still read."""

MARK = "\x01raw"
"""Begins a text that stands for one of ``RAW`` until the document is written."""

TEXTS = (
    *("", " ", "0", "-1", "1", "-0.00000001", "NaN", "sNaN", "Infinity", "-inf", "1e999", "1e999999999", "-1e-999999999"),
    *("0e999999999", "0e-999999999", "1_000", " 7 ", "\u0661\u0662", "\uff11", "0x10", "0x", "0x" + "f" * 65, "null"),
    *("\ud800", "\x00", "\x1b[2J", "a\nb", "{", "../..", "9" * 400, "." * 300, "x" * 70_000, "signature=" + ":" * 5_000),
)
NUMBERS = (-1, 0, 1, 2, 7, 10**12, 2**53, 2**63, 2**64, -(2**63), 10**40, -(10**300), 0.1, -0.5, 1e-9, 1e22, 1e308, -1e308)
NAMES = ("e", "code", "msg", "a", "price", "data", "")
NOISE = (b"", b"[" * 1_000_000, b'{"a":' * 200_000, b"\x00" * 999, b"null", b"<html>" * 50, b'"' + b"\\u0000" * 100_000)


def build_scalar(random: Random) -> Any:
    kind = random.randrange(4)
    if kind == 0:
        return random.choice((None, True, False))
    return random.choice((NUMBERS, TEXTS, [f"{MARK}{place}" for place in range(len(RAW))])[kind - 1])


def build_hostile(random: Random) -> Any:
    match random.randrange(9):
        case 1:
            return [build_scalar(random) for _ in range(random.randrange(4))]
        case 2:
            return {random.choice(NAMES): build_scalar(random) for _ in range(random.randrange(4))}
        case 3:
            return "".join(chr(random.randrange(1, 0x11000)) for _ in range(random.randrange(9)))
    return build_scalar(random)


class Pairs(dict[str, Any]):
    """An object that is written with some key twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def items(self) -> Any:
        return self.pairs


def list_places(document: Any) -> list[tuple[Any, Any]]:
    """Every value inside, as its container and its key."""
    found: list[tuple[Any, Any]] = []
    queue = [document]
    while queue:
        node = queue.pop()
        keys = list(node) if type(node) is dict else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            queue.append(node[key])
    return found


def spoil(random: Random, document: Any) -> Any:
    """The document with a few of its values replaced, taken away, doubled or wrapped."""
    changed = copy.deepcopy(document)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        places = list_places(changed)
        if not places or random.randrange(30) == 0:
            return build_hostile(random)
        change(random, *random.choice(places))
    return changed


def change(random: Random, container: Any, key: Any) -> None:
    value = container[key]
    match random.choice(("replace", "replace", "replace", "drop", "double", "wrap", "turn", "repeat")):
        case "drop":
            del container[key]
        case "double" if isinstance(value, dict) and value:
            container[key] = Pairs([*value.items(), (random.choice(list(value)), build_scalar(random))])
        case "wrap":
            container[key] = random.choice(([value], {"data": value}))
        case "turn":
            container[key] = turn(random, value)
        case "repeat":
            container[key] = [value] * random.choice((2, 50))
        case _:
            container[key] = build_hostile(random)


def turn(random: Random, value: Any) -> Any:
    """Still much like the value, and no longer the same: another kind, another sign, another size."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 7
    if isinstance(value, int | float):
        return random.choice((str(value), -value, value * 1_000, value + 10**6, float(value), f"{value}.0", f"{value}e9"))
    if value.startswith("0x"):
        return random.choice((value + "f", value[:-1], "0x" + "f" * 15, hex(random.randrange(2**63)), value.upper(), "0x0"))
    return random.choice((f"-{value}", f"{value}e40", f"{value}0", value[1:], value.lower(), value * 40, f"0.{value}", 7))


def write(random: Random, document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=bool(random.randrange(2)))
    if MARK in text or "\\u0001raw" in text:
        for place in reversed(range(len(RAW))):
            for mark in (json.dumps(f"{MARK}{place}"), f'"{MARK}{place}"'):
                text = text.replace(mark, RAW[place])
    return text.encode("utf-8", "surrogatepass")


def damage(random: Random, payload: bytes) -> bytes:
    """The bytes flipped, cut, stretched or in another encoding; most often as they are."""
    place = random.randrange(len(payload) + 1)
    match random.choice(("no", "no", "no", "flip", "cut", "insert", "stretch", "encode")):
        case "flip" if place < len(payload):
            return payload[:place] + bytes([payload[place] ^ random.randrange(1, 256)]) + payload[place + 1 :]
        case "cut":
            return payload[:place]
        case "insert":
            return payload[:place] + random.randbytes(random.randrange(7)) + payload[place:]
        case "stretch":
            return payload[:place] + payload[place : place + 4] * random.choice((3, 2_000)) + payload[place:]
        case "encode":
            codec = random.choice(("utf-16", "utf-32-le", "utf-8-sig", "latin-1", "cp037"))
            return payload.decode("utf-8", "replace").encode(codec, "replace")
    return payload


def build_message(random: Random, document: Any) -> bytes:
    """The document spoiled, written and damaged; now and then nothing but noise."""
    if random.randrange(40) == 0:
        return random.choice((*NOISE, random.randbytes(random.randrange(64))))
    return damage(random, write(random, spoil(random, document)))


def spoil_words(random: Random, payload: bytes) -> bytes:
    """An ABI encoding with some of its words replaced, or damaged like any other bytes."""
    for _ in range(random.randrange(4)):
        place = 32 * random.randrange(max(1, len(payload) // 32))
        word = random.choice((0, 1, 2, 31, 32, 33, 64, len(payload), 2**31, 2**63, 2**255, 2**256 - 1))
        payload = payload[:place] + word.to_bytes(32, "big") + payload[place + 32 :]
    return damage(random, payload)


def attack(random: Random, build: Callable[[Random], bytes], check: Callable[[bytes], object], batch: int = BATCH) -> None:
    """Hand a batch of payloads to the check, each within its time; what fails shows its payload."""
    for _ in range(batch):
        payload = build(random)
        try:
            with hurried():
                check(payload)
        except BaseException as error:
            error.add_note(f"payload of {len(payload)} bytes: {payload[:SHOWN_MAX]!r}")
            raise


def fuzz(batches: int) -> Any:
    """So many batches, times the scale of this run."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=max(1, round(batches * SCALE)), deadline=None, print_blob=True, suppress_health_check=checks
    )


@contextmanager
def hurried(limit_s: float = CPU_MAX_S) -> Iterator[None]:
    """Fails where the block takes more of the processor than it may; how busy the machine is does not matter."""
    started = time.process_time()
    yield
    taken_s = time.process_time() - started
    assert taken_s < limit_s, f"took {taken_s:.1f} s of the processor"
