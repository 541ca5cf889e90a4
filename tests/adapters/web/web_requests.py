"""What the tests of the HTTP surface share: an operator that remembers, and requests as they are written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from dehedge.core.book import TradingMode

TOKEN = "tökén-of-the-tests"
HOST = "dehedge.example"

Send = Callable[[bytes], Awaitable[bytes]]


class Insight:
    """Implements ``surfaces.Insight``; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.error: Exception | None = None

    def explain(self, market: str, position_id: str) -> Mapping[str, object]:
        return self._note((market, position_id), {"text": ["why"]})

    async def find_trips(self, limit: int) -> Mapping[str, object]:
        return self._note(limit, {"trips": []})

    async def foresee(self, moves: Sequence[str]) -> Mapping[str, object]:
        return self._note(moves, {"opens": []})

    def _note(self, asked: object, answer: Mapping[str, object]) -> Mapping[str, object]:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        return answer


class Operator:
    """Implements ``surfaces.Operator``; remembers what it was told to do."""

    def __init__(self) -> None:
        self.insight = Insight()
        self.is_alive = True
        self.obstacles: Sequence[str] = ()
        self.hedges = 3
        self.commands: list[str] = []
        self.told: list[tuple[TradingMode | None, str]] = []
        self.error: Exception | None = None
        self.positions: Sequence[Mapping[str, object]] = [{"market": "ETH-USD", "pnl": "-1.5"}]

    def check_alive(self) -> bool:
        return self.is_alive

    def find_obstacles(self) -> Sequence[str]:
        return self.obstacles

    def measure(self) -> None:
        self.commands.append("measure")

    def get_status(self) -> Mapping[str, object]:
        return {"version": "1", "vault": "12.5"}

    def get_hedges(self, offset: int, limit: int) -> Mapping[str, object]:
        rows = [{"market": "BTC-USD", "quantity": f"0.{number:03}"} for number in range(self.hedges)]
        return {"hedges": rows[offset : offset + limit], "total": self.hedges}

    def get_positions(self, offset: int, limit: int) -> Sequence[Mapping[str, object]]:
        return self.positions[offset : offset + limit]

    async def fetch_flattening(self) -> Mapping[str, object]:
        return {"flat": True, "left": []}

    async def pause(self, level: TradingMode | None = None, *, reason: str = "") -> None:
        self._note("pause", level, reason)

    async def resume(self, *, reason: str = "") -> None:
        self._note("resume", None, reason)

    async def flatten(self, *, reason: str = "") -> None:
        self._note("flatten", None, reason)

    def _note(self, command: str, level: TradingMode | None, reason: str) -> None:
        if self.error is not None:
            raise self.error
        self.commands.append(command)
        self.told.append((level, reason))


class History:
    """Implements ``surfaces.HistorySource``; tells what it was asked for."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def fetch_history(self, since: float, limit: int) -> Sequence[Mapping[str, object]]:
        if self.error is not None:
            raise self.error
        return [{"at": since, "text": str(limit)}]


class Onlooker:
    """Implements ``surfaces.Onlooker``; counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 1_800_000_000.0
        self.padding = ""
        self.error: Exception | None = None

    def time(self) -> float:
        return self.now

    def get_now(self) -> Mapping[str, object]:
        self._note("now")
        return {"vault": "12.5", "padding": self.padding}

    def get_series(self, market: str | None = None) -> Mapping[str, object]:
        self._note(f"series {market}")
        return {"prices": {}}

    def count_events(self) -> int:
        return 7

    def get_events(self, after: int) -> Sequence[Mapping[str, object]]:
        return [{"number": number} for number in range(after + 1, 8)]

    def get_inputs(self) -> Sequence[Mapping[str, object]]:
        return [{"name": "chain"}]

    async def measure_exposure(self) -> Sequence[Mapping[str, object]]:
        return [{"market": "BTC-USD"}]

    def _note(self, what: str) -> None:
        if self.error is not None:
            raise self.error
        self.asked.append(what)


def build_headers(token: str = TOKEN, scheme: str = "Bearer") -> dict[str, bytes]:
    return {"Authorization": f"{scheme} {token}".encode()}


def build_post(*headers: bytes, body: bytes = b"", path: bytes = b"/api/v1/pause") -> bytes:
    """A post with the token; the headers given here come after it."""
    head = [b"POST " + path + b" HTTP/1.1", b"Authorization: Bearer " + TOKEN.encode(), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body
