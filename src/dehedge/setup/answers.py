"""What the new configuration shall say: what the environment says already, the defaults, and what a person answers.

Answers become variables of this process at once, so that they are read and judged exactly as the daemon will do it. Never
shows a secret. Called by ``setup``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import typer

from dehedge.config import Settings, read_settings
from dehedge.environment import read_environment
from dehedge.errors import ChainUnavailable, ConfigError

PUBLIC_NETWORK = "https://mainnet.base.org"
"""Base's own public endpoint: enough to begin with, limited in its rate, and not meant for production."""
CONNECTORS = ("paper", "binance")
ENVIRONMENTS = ("demo", "mainnet")
KEYS = ("BINANCE_API_KEY", "BINANCE_API_SECRET")

GetMarkets = Callable[[Settings], Sequence[str]]


class Answers:
    """By variable; begins with what is given and the defaults for paper."""

    def __init__(self) -> None:
        """Raises ``ConfigError`` where what is given cannot be read."""
        environment = read_environment()
        if environment.problems:
            raise ConfigError(*environment.problems)
        known = {name.upper() for name in Settings.model_fields} - {"KEY"}
        self.values = {name: value for name, value in environment.values.items() if name in known}
        self._filed = {name for name in self.values if f"{name}_FILE" in environment.names}
        for name, default in {"NETWORKS": PUBLIC_NETWORK, "CONNECTOR": CONNECTORS[0]}.items():
            self.values.setdefault(name, default)

    @property
    def node(self) -> str:
        """The host of the first endpoint: the rest of its URL may be a key."""
        return urlsplit(self.values["NETWORKS"].partition(",")[0].strip()).hostname or "the node"

    def read_settings(self) -> Settings:
        """Raises ``ConfigError`` for what the daemon would refuse."""
        os.environ.update(self.values)
        return read_settings()

    def get_written(self) -> dict[str, str]:
        """Without what is in a file of its own."""
        return {name: value for name, value in self.values.items() if name not in self._filed}

    def ask_networks(self, get_markets: GetMarkets) -> Sequence[str]:
        """Ask until a node gives the markets."""
        wanted, self.values["CONNECTOR"] = self.values["CONNECTOR"], "paper"
        while True:
            self._ask("NETWORKS", "URL of a Base node (several with commas)")
            try:
                markets = get_markets(self.read_settings())
            except (ChainUnavailable, ConfigError) as error:
                typer.echo(f"  {error}")
            else:
                self.values["CONNECTOR"] = wanted
                return markets

    def ask_rest(self) -> None:
        """What only a person knows, as far as it is needed."""
        typer.echo("Prices come from Pyth's Hermes, which answers with an API key only (pyth.network).")
        self._ask("PYTH_PRICE_SERVICE", "URL of Hermes", Settings.model_fields["pyth_price_service"].default)
        self._ask_secret("PYTH_API_KEY", "Pyth API key (empty: none yet)")
        self._choose("CONNECTOR", "Trade on paper, or on an account at binance", CONNECTORS)
        if self.values["CONNECTOR"] == "binance":
            self._choose("BINANCE_ENVIRONMENT", "Binance's demo exchange, or its mainnet with real money", ENVIRONMENTS)
            for name in KEYS:
                while name not in self.values:
                    self._ask_secret(name, f"{name} (of a futures key without withdrawal)")

    def _ask(self, name: str, question: str, default: str = "") -> None:
        self.values[name] = typer.prompt(question, default=self.values.get(name, default)).strip()

    def _ask_secret(self, name: str, question: str) -> None:
        if name in self.values:
            return
        answer = typer.prompt(question, default="", hide_input=True, show_default=False).strip()
        if answer:
            self.values[name] = answer

    def _choose(self, name: str, question: str, choices: Sequence[str]) -> None:
        default = self.values.get(name, choices[0])
        answer = ""
        while answer not in choices:
            answer = typer.prompt(f"{question} ({', '.join(choices)})", default=default).strip().lower()
        self.values[name] = answer
