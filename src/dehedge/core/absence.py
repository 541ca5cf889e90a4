"""When a position that a snapshot lacks counts as gone.

Rules of this file. One snapshot proves nothing by what it lacks: a node that lost its state or skips positions can
still be consistent, count and all. A hedge's position is gone when the two newest complete snapshots both lack it,
both are young, and the second is testimony of its own. Asked by ``hedging`` before it closes anything, and by the
snapshot feed, which reads again at once while something is unconfirmed. Says nothing of positions that are there: one
snapshot that shows another size or side is a statement, not a silence.

What is testimony of its own. From another node, any block that is not older, the same one included: an older block may
precede the position itself. From the same node only another block (a later one, or what a reorganization put in the
place of the first): asked twice for one block it repeats itself, most likely out of a cache, whereas on Base it has
computed another one two seconds later. Failed readings in between change nothing, any snapshot that has the position
does.

A node that has what the one before it lacked objects. Where it cannot be asked again its objection stands until it is
too old to count; otherwise one request that fails would hand the decision to a node that is known to be contradicted.
"""

from __future__ import annotations

from dehedge.core.book import HedgeBook, HedgedPosition
from dehedge.core.model import ChainSnapshot, HedgeKey, Observation


def check_gone(observation: Observation, hedge: HedgedPosition, max_age_s: float) -> bool:
    """True when the newest snapshot lacks the hedge's position and confirms the one before, which lacks it too."""
    newest, previous = observation.snapshot, observation.previous
    if previous is None or hedge.key in newest.positions or hedge.key in previous.positions:
        return False
    is_young = _check_young(observation, previous, max_age_s) and _check_tells(previous, hedge)
    objection = find_objection(observation, max_age_s)
    is_denied = objection is not None and hedge.key in objection.positions
    return is_young and check_confirms(newest, previous) and not is_denied


def check_confirms(second: ChainSnapshot, first: ChainSnapshot) -> bool:
    """True when what both lack is said twice, and not by one node that repeats itself."""
    return second.block_number >= first.block_number and not _check_same_block(second, first)


def find_objection(observation: Observation, max_age_s: float) -> ChainSnapshot | None:
    """What another node than those of the two newest snapshots said against one before, if that still counts."""
    objection, previous = observation.objection, observation.previous
    if objection is None or previous is None or objection.host in (observation.snapshot.host, previous.host):
        return None
    return objection if _check_young(observation, objection, max_age_s) else None


def check_repeats(second: ChainSnapshot, first: ChainSnapshot) -> bool:
    """True when a node gave the same positions at the same block again, so that the second is no news."""
    return _check_same_block(second, first) and second.positions.keys() == first.positions.keys()


def find_unconfirmed(observation: Observation, book: HedgeBook, max_age_s: float) -> list[HedgeKey]:
    """The hedges whose position the newest snapshot lacks and that are not gone by this."""
    positions = observation.snapshot.positions
    return [
        key
        for key, hedge in book.get_all_hedged_positions().items()
        if key not in positions and not check_gone(observation, hedge, max_age_s)
    ]


def find_contradicted(observation: Observation, book: HedgeBook) -> list[HedgeKey]:
    """The hedges whose position the snapshot before lacked, although the newest has it and it is older than that."""
    positions, previous = observation.snapshot.positions, observation.previous
    if previous is None:
        return []
    return [
        key
        for key, hedge in book.get_all_hedged_positions().items()
        if key in positions
        and key not in previous.positions
        and positions[key].opened_at <= previous.block_time
        and _check_tells(previous, hedge)
    ]


def check_agree(observation: Observation, book: HedgeBook, max_age_s: float) -> bool:
    """True when the two newest snapshots have the positions of the same hedges, and no other node objects."""
    previous = observation.previous
    if previous is None or find_objection(observation, max_age_s) is not None:
        return False
    return all(
        (key in previous.positions) == (key in observation.snapshot.positions)
        for key in book.get_all_hedged_positions()
    )


def _check_tells(snapshot: ChainSnapshot, hedge: HedgedPosition) -> bool:
    """False for a block from before the hedge was decided: it may be one from before the position was opened."""
    return snapshot.block_number >= hedge.seen_block


def _check_young(observation: Observation, snapshot: ChainSnapshot, max_age_s: float) -> bool:
    return observation.taken_at - snapshot.block_time <= max_age_s


def _check_same_block(second: ChainSnapshot, first: ChainSnapshot) -> bool:
    """True for one block as one node tells it."""
    return (second.host, second.block_hash) == (first.host, first.block_hash)
