"""``dehedge bundle`` and ``dehedge replay``: pack an incident into one file, and run such a file again."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from dehedge.bundle import Outcome, replay_bundle, write_bundle
from dehedge.cli_money import check_no_database, find_journal
from dehedge.config import Settings, read_configuration
from dehedge.errors import ConfigError, DehedgeError
from dehedge.reporting.spans import format_moment, parse_since


def make_bundle(journal: Path | None, *, since: str, out: Path | None) -> int:
    now = time.time()
    start = parse_since(since, now)
    reader = find_journal(journal)
    path = out if out is not None else Path(datetime.fromtimestamp(now, UTC).strftime("dehedge-%Y%m%dT%H%M%SZ.zip"))
    check_no_database(path)
    settings, symbols, why = _read_settings()
    try:
        contents = write_bundle(path, reader, (start, now), settings, symbols)
    except OSError as error:
        raise DehedgeError(f"--out: {path}: {error.strerror}; give another file") from None
    print(f"written: {path}: {contents.passes} passes, {contents.entries} journal entries since {format_moment(start)} UTC")
    if why:
        print(f"without the settings: {why}")
    if not contents.passes:
        print("no passes were recorded in that time, so there is nothing to replay; see RECORD_MAX_MB and --since")
    return 0


def replay(path: Path, *, use_json: bool) -> int:
    """Exit 0 when every decision came out the same, 1 when one did not."""
    if path.suffix != ".zip":
        raise DehedgeError(f"{path}: a bundle is a .zip that `dehedge bundle` wrote")
    outcome = replay_bundle(path)
    if use_json:
        print(json.dumps(_describe(outcome), indent=2))
    else:
        _show(outcome)
    return 0 if outcome.difference is None else 1


def _describe(outcome: Outcome) -> dict[str, object]:
    found = outcome.difference
    return {
        "recorded_by": outcome.version,
        "passes": outcome.passes,
        "decisions": outcome.decisions,
        "same": found is None,
        "difference": None
        if found is None
        else {"at": found.at, "decision": found.number, "recorded": found.recorded, "now": found.now},
    }


def _show(outcome: Outcome) -> None:
    print(f"{outcome.passes} passes with {outcome.decisions} decisions, recorded by dehedge {outcome.version}")
    found = outcome.difference
    if found is None:
        print("the same decisions")
        return
    print(f"another decision in the pass of {format_moment(found.at)} UTC, number {found.number} of it:")
    print(f"  recorded: {json.dumps(found.recorded)}")
    print(f"  now:      {json.dumps(found.now)}")


def _read_settings() -> tuple[Settings | None, dict[str, str], str]:
    """What is configured here; a bundle is worth making without it as well."""
    try:
        settings, symbols = read_configuration()
    except ConfigError as error:
        return None, {}, error.problems[0]
    return settings, symbols, ""
