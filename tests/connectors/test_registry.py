"""The registry: names, plain options, and libraries imported only when chosen."""

from __future__ import annotations

import subprocess
import sys

from dehedge.connectors import CONNECTORS, ConnectorOptions


def test_registry_has_the_documented_names():
    assert sorted(CONNECTORS) == ["binance", "paper"]


def test_registry_imports_no_library_before_a_connector_is_chosen():
    heavy = "{'binance', 'aiohttp', 'websockets', 'sqlite3'}"
    code = f"import sys, dehedge.connectors; print(sorted({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_options_keep_secrets_out_of_their_repr(clock):
    options = ConnectorOptions("http://x", "ws://x", clock, api_key="the-key", api_secret="the-secret")

    assert "the-key" not in repr(options)
    assert "the-secret" not in repr(options)


async def test_every_connector_tells_of_the_laws_that_it_breaks_itself(clock, tmp_path):
    told = []
    options = ConnectorOptions(
        "http://x", "ws://x", clock, "key", "secret", state_path=str(tmp_path / "paper"), on_breach=told.append
    )
    binance, paper = CONNECTORS["binance"](options), CONNECTORS["paper"](options)

    for gateway in (binance._gateway, paper._market_data._gateway):
        gateway._tally._on_breach("breach")

    assert told == ["breach", "breach"]
    await binance.close()
    await paper.close()
