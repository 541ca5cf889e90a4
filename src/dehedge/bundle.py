"""An incident in one file: what the daemon saw, decided and ordered, and its settings without a secret; and the same run again.

A bundle is made from the journal and the recorded passes, beside the daemon or after it. Every text in it goes through the
redaction of the log. Running it again takes the planner of this version and no other input; where it decides otherwise, the
first difference is told. Called by the commands.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from dehedge import __version__
from dehedge.adapters.journal_reader import JournalReader
from dehedge.adapters.journal_rows import encode
from dehedge.adapters.pass_rows import PassRow, decode_pass, encode_decisions
from dehedge.adapters.recorder import get_record_folder, read_lines
from dehedge.addresses import hide_all_but_host
from dehedge.config import Settings
from dehedge.core.passes import run_again
from dehedge.errors import DehedgeError
from dehedge.history import CONTEXT_S, describe_entries
from dehedge.logs import Redactor
from dehedge.ports import JournalEntry

PASSES, JOURNAL, HISTORY, CONFIG, MANIFEST = (
    "passes.jsonl", "journal.jsonl", "history.jsonl", "config.json", "manifest.json",
)  # fmt: skip
VERSION = 1
LINE_MAX = 64 * 1_000_000
"""A longer line is none of ours."""
MANIFEST_MAX, VERSION_LENGTH_MAX = 100_000, 40
NOT_OURS = (
    zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError,
)  # fmt: skip
"""What comes of a file that is damaged, encrypted, or made by somebody else."""


@dataclass(frozen=True, slots=True)
class Contents:
    """How much a bundle holds."""

    passes: int
    entries: int


@dataclass(frozen=True, slots=True)
class Difference:
    """The first decision that came out otherwise, as JSON data."""

    at: float
    number: int
    recorded: object
    now: object


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running a bundle again came to."""

    version: str
    passes: int
    decisions: int
    difference: Difference | None


def write_bundle(
    out: Path, journal: JournalReader, span: tuple[float, float], settings: Settings | None, symbols: Mapping[str, str]
) -> Contents:
    """Pack what lies between two times. Raises ``OSError`` and ``JournalError``."""
    since, until = span
    redact = Redactor(settings.get_secret_texts() if settings is not None else []).redact
    entries = [entry for entry in journal.read(since) if entry.at < until]
    before = [entry for entry in journal.read(max(since - CONTEXT_S, 0.0)) if entry.at < until]
    manifest = {
        "bundle": VERSION, "version": __version__, "since": since, "until": until,
        "deployment": journal.read_deployment(), "entries": len(entries),
    }  # fmt: skip
    out.touch(mode=0o600)  # It tells whose positions are hedged, and how.
    if out.is_file():
        out.chmod(0o600)  # It may have been there.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        passes = _write_lines(archive, PASSES, map(redact, _select_passes(journal.path, span)))
        _write_lines(archive, JOURNAL, (redact(_describe_entry(journal.path, entry)) for entry in entries))
        _write_lines(archive, HISTORY, (redact(json.dumps(it)) for it in describe_entries(before, since)))
        archive.writestr(CONFIG, redact(json.dumps(describe_settings(settings, symbols), indent=2)))
        archive.writestr(MANIFEST, json.dumps(manifest | {"passes": passes}, indent=2))
    return Contents(passes, len(entries))


def describe_settings(settings: Settings | None, symbols: Mapping[str, str]) -> Mapping[str, object]:
    """The settings without a secret: of what may hold one, whether it is set, and of URLs their hosts."""
    if settings is None:
        return {"settings": None, "why": "they could not be read where the bundle was made", "symbols": dict(symbols)}
    shown = {name.upper(): _show_setting(settings, name) for name in Settings.model_fields}
    return {"settings": shown, "symbols": dict(symbols)}


def replay_bundle(path: Path) -> Outcome:
    """Run every recorded pass again, until one comes out otherwise. Raises ``DehedgeError`` for what is no bundle."""
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open(MANIFEST) as file:
                version = _disarm(str(json.loads(file.read(MANIFEST_MAX))["version"]))
            with archive.open(PASSES) as lines:
                return _run_all(version, (decode_pass(line) for line in iter(lambda: lines.readline(LINE_MAX), b"")))
    except OSError as error:
        raise DehedgeError(f"{path}: {error.strerror or error}; name a file that `dehedge bundle` wrote") from None
    except NOT_OURS as error:
        raise DehedgeError(
            f"{path} is no bundle of dehedge ({type(error).__name__}); make one by `dehedge bundle`"
        ) from None


def _disarm(text: str) -> str:
    """Foreign text as a part of one line."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:VERSION_LENGTH_MAX])


def _run_all(version: str, rows: Iterable[PassRow]) -> Outcome:
    passes = decisions = 0
    for row in rows:
        now = encode_decisions(run_again(row.recorded))
        difference = _find_difference(row, now)
        passes, decisions = passes + 1, decisions + len(now)
        if difference is not None:
            return Outcome(version, passes, decisions, difference)
    return Outcome(version, passes, decisions, None)


def _find_difference(row: PassRow, now: Sequence[object]) -> Difference | None:
    pairs = zip([*row.decisions, *[None] * len(now)], [*now, *[None] * len(row.decisions)], strict=False)
    for number, (recorded, decided) in enumerate(pairs, start=1):
        if recorded != decided:
            return Difference(row.recorded.taken_at, number, recorded, decided)
    return None


def _select_passes(journal: Path, span: tuple[float, float]) -> Iterator[str]:
    """The recorded lines of that time, as they are; in their order, which is that of the passes."""
    since, until = span
    for line in read_lines(get_record_folder(journal), since):
        text = line.decode("utf-8", "replace")
        try:
            taken_at = json.loads(text)["pass"]["taken_at"]
        except (ValueError, KeyError, TypeError):
            continue
        if since <= taken_at < until:
            yield text


def _write_lines(archive: zipfile.ZipFile, name: str, lines: Iterable[str]) -> int:
    count = 0
    with archive.open(name, "w", force_zip64=True) as file:
        for line in lines:
            file.write(f"{line}\n".encode("utf-8", "surrogatepass"))
            count += 1
    return count


def _describe_entry(path: Path, entry: JournalEntry) -> str:
    kind = type(entry.event).__name__
    body = encode(path, kind, entry.event)
    return f'{{"sequence":{entry.sequence},"at":{entry.at!r},"kind":"{kind}","body":{body}}}'


def _show_setting(settings: Settings, name: str) -> object:
    value = getattr(settings, name)
    if value is None:
        return None
    if name in ("networks", "networks_ws"):
        return [hide_all_but_host(url) for url in (settings.rpc_urls if name == "networks" else settings.head_urls)]
    if isinstance(value, SecretStr):
        return "set"
    if not Settings.model_fields[name].repr:
        return hide_all_but_host(str(value))
    return value if isinstance(value, bool | int | float) else str(value)
