"""The ways of hedging that a replay compares, by name: the operator's own settings, with what the name changes.

``delta:expiry=300`` is the setting HEDGE_SIZING=delta with HEDGE_EXPIRY_SECONDS=300; every setting that decides may be changed
so, and is checked as it is at the start of the daemon. Reads the settings, runs nothing. Called by ``request``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from pydantic import ValidationError

from dehedge.config import Settings, read_settings_alone
from dehedge.errors import QuestionInvalid
from dehedge.guard_settings import GuardSettings
from dehedge.parts import build_policy
from dehedge.portfolio_settings import PortfolioSettings, RiskScope
from dehedge.replay.model import Costs, Policy

NONE = "none"
IDEAL = "ideal"
PORTFOLIO = "portfolio"
PRESETS: Mapping[str, Mapping[str, str]] = {
    NONE: {},
    "notional": {"risk_scope": "position", "hedge_sizing": "notional"},
    "delta": {"risk_scope": "position", "hedge_sizing": "delta"},
    PORTFOLIO: {"risk_scope": "portfolio"},
    IDEAL: {"risk_scope": "position", "hedge_sizing": "delta"},
}
USUAL = (NONE, "notional", "delta", PORTFOLIO, IDEAL)
SHORT = {"sizing": "hedge_sizing", "scope": "risk_scope", "early": "portfolio_early", "lead": "portfolio_lead_seconds", "gate": "portfolio_gate",
         "slack": "portfolio_slack", "step": "portfolio_step", "expiry": "hedge_expiry_seconds", "interest": "profit_limit_interest"}
DECIDING = frozenset({
    "vault_factor", "vault_profit_limit_factor", "profit_limit_interest", "hedge_expiry_seconds", "hedge_sizing", "leverage",
    "min_collateral", *PortfolioSettings.model_fields, *GuardSettings.model_fields,
})  # fmt: skip
JOINED = "delta:expiry=300:vault_factor=1.01"
JUDGING = frozenset({"vault_factor", "vault_profit_limit_factor", "profit_limit_interest", "risk_scope", "min_collateral", "leverage"})
"""What says who is at risk."""
OF_EACH = frozenset({"hedge_sizing", "hedge_expiry_seconds"})
"""What counts for nothing where all positions are judged together."""
UNSEEN = frozenset({"max_divergence_bps"})
"""What no replay can see: there the exchange's price is the protocol's."""
FIXED = {"networks": "http://127.0.0.1:1", "usdc": str(Settings.model_fields["usdc"].default)}
"""Settings want a node, and a replay asks none; every position of a replay is in USDC on Base, whatever chain is configured."""


def read_replay_settings() -> Settings:
    """The operator's settings where there are some, else the defaults. Raises ``ConfigError`` with what is wrong of them."""
    return read_settings_alone(FIXED)


def build_policies(texts: Sequence[str], symbols: Mapping[str, str]) -> list[Policy]:
    """In the order given; the usual ones where none is given. Raises ``QuestionInvalid``."""
    read_replay_settings()
    check_each_once(texts)
    return [build_choice(text, symbols) for text in texts or USUAL]


def check_each_once(texts: Sequence[str]) -> None:
    """Figures are told by a policy's name. Raises ``QuestionInvalid``."""
    twice = next((text for text, count in Counter(texts).items() if count > 1), None)
    if twice is not None:
        raise QuestionInvalid(f"--policy: {twice[:80]} is given twice; give each once")


def build_choice(text: str, symbols: Mapping[str, str]) -> Policy:
    """NAME or NAME:SETTING=VALUE:..., which is its name from then on."""
    preset, changes = _parse_policy(text)
    if preset == NONE and text != NONE:
        raise QuestionInvalid(f"--policy: {text[:80]}: {NONE} has no hedges, so no settings; give {NONE} alone")
    if preset == NONE:
        return Policy(text, None)
    settings, is_ideal = _change_settings(text, changes), preset == IDEAL
    told = describe_settings(settings, is_ideal=is_ideal)
    return Policy(text, build_policy(settings, symbols), settings.guard_limits, told, is_ideal=is_ideal)


def list_lines(text: str) -> list[str]:
    """The lines of `.env` that make a daemon decide as this policy does, on top of the operator's own settings."""
    _, changes = _parse_policy(text)
    told = describe_settings(_change_settings(text, changes))
    return [f"{field.upper()}={told[field.upper()]}" for field in changes if field.upper() in told]


def identify(text: str) -> object:
    """Equal for policies that decide alike, whatever their names are."""
    preset, changes = _parse_policy(text)
    told = describe_settings(_change_settings(text, changes), is_ideal=preset == IDEAL)
    if "PROFIT_LIMIT_INTEREST" in told:
        # Both sides of the third check are multiplied by it.
        told["PROFIT_LIMIT_INTEREST"] = str(told["PROFIT_LIMIT_INTEREST"] != "0")
    return preset == IDEAL, "leverage" in changes, frozenset(told.items())


def check_varies(text: str, name: str) -> bool:
    """False where a setting counts for nothing in this policy, whatever else is varied in it."""
    preset, changes = _parse_policy(text)
    field = get_field(name)
    is_counting = check_counts(field, _change_settings(text, changes), is_ideal=preset == IDEAL)
    return is_counting or field == "taker_fee_bps"


def describe_settings(settings: Settings, *, is_ideal: bool = False) -> dict[str, str]:
    """What decides under these settings, by the names of `.env`; limits that are not set are left out."""
    values = {field: getattr(settings, field) for field in Settings.model_fields if check_counts(field, settings, is_ideal=is_ideal)}
    return {field.upper(): _show_value(value) for field, value in values.items() if value is not None}


def check_counts(field: str, settings: Settings, *, is_ideal: bool = False) -> bool:
    """False for a setting that changes nothing about a replay under these settings, whatever it is set to."""
    if field not in DECIDING or field in UNSEEN:
        return False
    if is_ideal:
        return field in JUDGING
    if field == "taker_fee_bps":
        return settings.max_fees_usd_per_hour is not None
    if settings.risk_scope is RiskScope.PORTFOLIO:
        return field not in OF_EACH
    return not field.startswith("portfolio_")


def _show_value(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def fit_costs(costs: Costs, policy: Policy) -> Costs:
    """A leverage that the policy's name changes is that of the account."""
    if policy.hedging is None or "leverage" not in _parse_policy(policy.name)[1]:
        return costs
    return replace(costs, leverage=policy.hedging.leverage)


def _parse_policy(text: str) -> tuple[str, dict[str, str]]:
    """The preset, and all that it and the name change. Raises ``QuestionInvalid``."""
    preset, *changes = text.split(":")
    if preset not in PRESETS:
        raise QuestionInvalid(f"--policy: {preset[:40]!r} is unknown; known are {', '.join(PRESETS)}")
    return preset, {**PRESETS[preset], **dict(map(_parse_change, changes))}


def get_field(name: str) -> str:
    """Of the settings, by its name or its short one. Raises ``QuestionInvalid``."""
    field = SHORT.get(name.lower(), name.lower())
    if field not in DECIDING & Settings.model_fields.keys():
        known = sorted({*SHORT, *(DECIDING & Settings.model_fields.keys())})
        raise QuestionInvalid(f"--policy: {name[:40]!r} decides nothing; known are {', '.join(known)}")
    return field


def _parse_change(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return get_field(name), value


def _change_settings(text: str, changes: Mapping[str, str]) -> Settings:
    try:
        return Settings.model_validate({**FIXED, **changes})
    except ValidationError as error:
        field = str(error.errors(include_url=False)[0]["loc"][0])
        accepted, value = Settings.model_fields[field].description, changes.get(field, "")
        hint = f"; settings are joined by ':', such as {JOINED}" if "," in value else ""
        raise QuestionInvalid(f"--policy: {text[:80]}: {field} wants {accepted}, not {value[:40]!r}{hint}") from None
