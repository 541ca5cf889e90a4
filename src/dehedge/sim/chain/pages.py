"""The three ways in which deployments page ``getPositions(length, offset)``.

Pure: positions in, a page or a revert out, exactly as the contract of the same variant answers. Called by the call
interpreter. ``None`` in a page stands for a zeroed struct.
"""

from __future__ import annotations

from collections.abc import Sequence

from dehedge.sim.chain.abi import Tail, encode_array, encode_position, encode_tuple
from dehedge.sim.chain.model import ZERO_ADDRESS, Paging, SimPosition
from dehedge.sim.chain.reverts import OUT_OF_BOUNDS, OUT_OF_MEMORY, UNDERFLOW, OutOfGas, Reverted, build_panic

PAGE_MAX = 100_000
"""More structs than this do not fit the memory of any node."""

_ALLOCATION_MAX = 2**64 - 64
_ZEROED = encode_position(
    SimPosition(user=ZERO_ADDRESS, asset=ZERO_ADDRESS, market="", is_long=False, size=0, collateral=0, price=0)
)

Page = Sequence[SimPosition | None]


def build_page(positions: Sequence[SimPosition], paging: Paging, length: int, offset: int) -> Page:
    if paging is Paging.CAP:
        return _build_absolute(positions, length, offset)
    if paging is Paging.PADDED:
        return _build_padded(positions, length, offset)
    return _build_clamped(positions, length, offset)


def encode_page(page: Page) -> bytes:
    return encode_tuple(encode_array([_encode(position) for position in page]))


def _encode(position: SimPosition | None) -> Tail:
    return encode_position(position) if position else _ZEROED


def _build_clamped(positions: Sequence[SimPosition], length: int, offset: int) -> Page:
    if offset > len(positions):
        raise Reverted(build_panic(UNDERFLOW))
    return positions[offset : offset + length]


def _build_absolute(positions: Sequence[SimPosition], length: int, offset: int) -> Page:
    if offset and min(length, len(positions)):
        raise Reverted(build_panic(OUT_OF_BOUNDS))
    return positions[:length]


def _build_padded(positions: Sequence[SimPosition], length: int, offset: int) -> Page:
    if length * 32 > _ALLOCATION_MAX:
        raise Reverted(build_panic(OUT_OF_MEMORY))
    if length > PAGE_MAX:
        raise OutOfGas
    page = positions[offset : offset + length]
    return [*page, *[None] * (length - len(page))]
