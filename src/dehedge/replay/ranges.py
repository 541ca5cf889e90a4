"""Ranges in the words of a made-up book, such as ``long=0.1..0.9``: drawn anew for each book, the same for each time.

A draw depends on the book's seed and on the word alone, so a book is the same alone as among fifty, and what was drawn can be
typed instead of the range. Called by ``request``.
"""

from __future__ import annotations

import re
from decimal import Decimal
from random import Random
from zlib import crc32

from dehedge.errors import QuestionInvalid

PLACES = Decimal("1E-6")
WHOLE = ("traders",)
"""Words that count."""
SEED_DEFAULT = 1
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,6})?"
_RANGE = re.compile(rf"({_NUMBER})%?\.\.({_NUMBER})(%?)")
_SEED = re.compile(r"seed=([0-9]{1,10})")
_STREAM = 1 << 96
"""Above the streams of the traders themselves."""


def fix_words(text: str, number: int) -> str:
    """The words of the book with this number, from 0 on: seeds count up from the one that is said, ranges are drawn."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    seeds = [int(match[1]) for word in words if (match := _SEED.fullmatch(word))]
    seed = (seeds[-1] if seeds else SEED_DEFAULT) + number
    others = [_fix_word(word, seed) for word in words if not _SEED.fullmatch(word)]
    return ",".join([f"seed={seed}", *others])


def read_seed(words: str) -> int:
    """Of what ``fix_words`` made."""
    return int(words.partition(",")[0].removeprefix("seed="))


def _fix_word(word: str, seed: int) -> str:
    name, equals, value = word.partition("=")
    return f"{name}{equals}{fix_range(f'--generate: {name}', value, seed)}"


def fix_range(name: str, text: str, seed: int) -> str:
    """A number where the text is a range, else the text. Raises ``QuestionInvalid`` for a range that ends before it begins."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return text
    low, high = Decimal(match[1]), Decimal(match[2])
    if low > high:
        raise QuestionInvalid(f"{name}: {text[:40]!r} ends before it begins")
    word = name.rpartition(" ")[2].strip("-")
    share = Decimal(Random(_STREAM + (seed << 32) + crc32(word.encode())).random())  # noqa: S311  (a book, no secret)
    drawn = (low + (high - low) * share).quantize(Decimal(1) if word in WHOLE else PLACES)
    return f"{drawn.normalize():f}{match[3]}"


def check_range(text: str) -> bool:
    """True for a range."""
    return _RANGE.fullmatch(text) is not None
