"""What the exchange saw: every request with its outcome, for judging a client afterwards.

A plain, growing list; never a secret, a signature or a listen key. Orders, fills and position points are the ledger's
own; this adds the requests, also those that a fault swallowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. ``status`` is what was decided, 0 when it was not carried out; ``code`` is 0 when nothing was wrong.

    With a ``fault`` the client may have seen something else, or nothing.
    """

    at_ms: int
    method: str
    path: str
    params: Mapping[str, str]
    status: int
    code: int
    fault: str = ""


class Record:
    """All requests in order of their carrying out."""

    def __init__(self) -> None:
        self.requests: list[RequestRecord] = []

    def select(self, method: str, path: str) -> list[RequestRecord]:
        """The requests to one endpoint; the path may be given by its end."""
        return [r for r in self.requests if r.method == method and r.path.endswith(path)]
