"""A recorded pass as a line of JSON, and back; decisions as lists of their kind and fields.

Integers, fractions and decimals keep every digit. Used by ``recorder`` and by the replay of a bundle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dehedge.core.decisions import CloseHedge, Decision, Hold, OpenHedge, RefreshHedge, ResizeHedge
from dehedge.core.passes import PassView, RecordedPass, freeze
from dehedge.errors import DehedgeError

_PASS = TypeAdapter(RecordedPass)
_DECISIONS: dict[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (OpenHedge, ResizeHedge, CloseHedge, RefreshHedge, Hold)
}


@dataclass(frozen=True, slots=True)
class PassRow:
    """A line that was read: the pass, what was decided, and what the operator's limits made of that."""

    recorded: RecordedPass
    decisions: Sequence[object]
    held: Sequence[object]


def encode_pass(view: PassView, outcomes: Sequence[Decision]) -> bytes:
    """One line. What the limits let through as it was decided is not said twice."""
    after = {decision.key: decision for decision in outcomes}
    changed = [after[decision.key] for decision in view.decisions if after.get(decision.key, decision) != decision]
    recorded = _PASS.dump_json(freeze(view)).decode()
    decided, held = (json.dumps(encode_decisions(part)) for part in (view.decisions, changed))
    return f'{{"pass":{recorded},"decisions":{decided},"held":{held}}}\n'.encode()


def encode_decisions(decisions: Iterable[Decision]) -> list[object]:
    """As JSON data, by which decisions are compared."""
    return [[type(decision).__name__, _DECISIONS[type(decision)].dump_python(decision, mode="json")] for decision in decisions]


def decode_pass(line: bytes | str) -> PassRow:
    """Raises ``DehedgeError`` for a line that is none of this version's."""
    try:
        data = json.loads(line)
        return PassRow(_PASS.validate_python(data["pass"], strict=False), data["decisions"], data["held"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DehedgeError("a recorded pass is not understood; replay it with the version that recorded it") from error
