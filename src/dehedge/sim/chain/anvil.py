"""The stand-in chain on a real EVM: anvil with the contracts of ``contracts/DePerp.sol`` at fixed addresses.

Answers the same reads as ``InProcessChain``, byte for byte, and takes the same changes; each is a mined transaction. Blocks
come every second and with every change. Used by the demo and by the tests marked ``anvil``. Never a way to inject
faults: that is what the other chain is for.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import aiohttp

from dehedge.errors import DehedgeError
from dehedge.sim.chain.abi import (
    encode_address,
    encode_array,
    encode_int,
    encode_market,
    encode_position,
    encode_string,
    encode_tuple,
    encode_uint,
)
from dehedge.sim.chain.artifacts import read_artifacts
from dehedge.sim.chain.model import (
    CONTRACT_ADDRESSES,
    REGISTERED,
    USDC,
    Paging,
    PositionKey,
    SimMarket,
    SimPosition,
    UnknownPosition,
)
from dehedge.sim.chain.process import AnvilProcess, AnvilUnavailable, find_anvil

FILL_MAX_POSITIONS = 2500
START_ATTEMPTS = 3
START_S = 10.0
TRANSACTION_GAS = 10_000_000_000


class TransactionFailed(DehedgeError):
    """A transaction was mined and reverted."""


class AnvilChain:
    """See ``SimChain``. A change returns when its block is mined."""

    def __init__(self, binary: Path | None = None) -> None:
        self._binary = binary
        self._process: AnvilProcess | None = None
        self._session: aiohttp.ClientSession | None = None
        self._sender = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._running.port}"

    @property
    def pid(self) -> int:
        return self._running.pid

    async def start(self) -> None:
        """Raises AnvilUnavailable when there is no binary or it does not come up."""
        binary = self._binary or find_anvil()
        if binary is None:
            raise AnvilUnavailable("no anvil binary found: npm install --prefix .tools @foundry-rs/anvil@1.7.1")
        self._session = aiohttp.ClientSession()
        try:
            await self._start_process(binary)
            await self._install()
        except BaseException:
            # Whatever ended the start, a cancellation included, no child may be left behind.
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._process is not None:
            await self._process.stop()

    async def put(self, *positions: SimPosition) -> None:
        """Open or replace positions, up to 2,500 of them in one block."""
        for start in range(0, len(positions), FILL_MAX_POSITIONS):
            chunk = positions[start : start + FILL_MAX_POSITIONS]
            await self._send("Positions", "fill", encode_array([encode_position(position) for position in chunk]))

    async def remove(self, key: PositionKey) -> None:
        user, asset = encode_address(key.user), encode_address(key.asset)
        try:
            await self._send("Positions", "remove", user, asset, encode_string(key.market))
        except TransactionFailed as error:
            raise UnknownPosition(f"no position of {key.user} in {key.market}") from error

    async def set_vault(self, balance: int, asset: str = USDC) -> None:
        await self._send("Vault", "setBalance", encode_address(asset), encode_uint(balance))

    async def set_shield(self, balance: int, asset: str = USDC) -> None:
        await self._send("Vault", "setShieldBalance", encode_address(asset), encode_uint(balance))

    async def set_tracer(self, market: str, tracer: int, asset: str = USDC) -> None:
        parts = (encode_address(asset), encode_string(market), encode_int(tracer))
        await self._send("FundingRate", "setFundingTracer", *parts)

    async def set_market(self, market: SimMarket) -> None:
        await self._send("TradingMarket", "setMarket", encode_string(market.market), encode_market(market))

    async def set_address(self, key: str, address: str) -> None:
        await self._send("DataRegistry", "setAddress", encode_string(key), encode_address(address))

    async def set_paging(self, paging: Paging) -> None:
        await self._send("Positions", "setPaging", encode_uint(paging))

    async def set_available(self, *, includes_shield: bool) -> None:
        await self._send("VaultUtils", "setIncludesShield", encode_uint(includes_shield))

    async def count(self) -> int:
        selector = read_artifacts()["Positions"].get_selector("getPositionCount")
        call = {"to": CONTRACT_ADDRESSES["Positions"], "data": "0x" + selector.hex()}
        return int(await self._fetch("eth_call", call, "latest"), 16)

    async def mine(self, blocks: int = 1) -> None:
        await self._fetch("anvil_mine", hex(blocks))

    async def reorg(self, depth: int) -> None:
        """Replace the last blocks by as many empty ones."""
        await self._fetch("anvil_reorg", depth, [])

    @property
    def _running(self) -> AnvilProcess:
        assert self._process is not None, "start the chain first"
        return self._process

    async def _start_process(self, binary: Path) -> None:
        """Another program may take the port between the choice and the start, hence the attempts."""
        for _ in range(START_ATTEMPTS):
            self._process = AnvilProcess(binary)
            await self._process.start()
            if await self._wait_until_ready(self._process):
                return
            message = self._process.read_errors()
            await self._process.stop()
        raise AnvilUnavailable(f"{binary} did not start: {message}")

    async def _wait_until_ready(self, process: AnvilProcess) -> bool:
        deadline = time.monotonic() + START_S
        while process.is_running and time.monotonic() < deadline:
            try:
                await self._fetch("eth_chainId")
            except AnvilUnavailable:
                await asyncio.sleep(0.01)
            else:
                return process.is_running
        return False

    async def _install(self) -> None:
        self._sender = (await self._fetch("eth_accounts"))[0]
        for name, address in CONTRACT_ADDRESSES.items():
            await self._fetch("anvil_setCode", address, read_artifacts()[name].code)
        await self._send("VaultUtils", "setVault", encode_address(CONTRACT_ADDRESSES["Vault"]))
        for key in REGISTERED:
            await self.set_address(key, CONTRACT_ADDRESSES[key])

    async def _send(self, contract: str, function: str, *parts: bytes) -> None:
        data = read_artifacts()[contract].get_selector(function) + encode_tuple(*parts)
        transaction = {
            "from": self._sender,
            "to": CONTRACT_ADDRESSES[contract],
            "data": "0x" + data.hex(),
            "gas": hex(TRANSACTION_GAS),
        }
        receipt = await self._fetch("eth_sendTransactionSync", transaction)
        if receipt["status"] != "0x1":
            raise TransactionFailed(f"{contract}.{function} reverted")

    async def _fetch(self, method: str, *params: Any) -> Any:
        try:
            answer = await self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AnvilUnavailable(f"anvil at {self.url} does not answer {method}: {error}") from error
        if "error" in answer:
            raise AnvilUnavailable(f"anvil refused {method}: {answer['error']['message']}")
        return answer["result"]

    async def _post(self, request: dict[str, Any]) -> Any:
        assert self._session is not None, "start the chain first"
        # As a stream, because a filling of thousands of positions is too large to be sent in one piece.
        body = io.BytesIO(json.dumps(request).encode())
        async with self._session.post(self.url, data=body, headers={"Content-Type": "application/json"}) as response:
            return await response.json()
