"""What reaches standard output: one event per line, values as keys, no secret. Each case in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.logs import REDACTED, SECRET_LENGTH_MIN, Redactor

SECRET = 's3cret "quoted" \\ and é/+'


def run_script(script: str, *, use_json: bool, level: str = "INFO") -> tuple[int, str]:
    """Exit code and standard output of a script that logs."""
    setup = f"""
import logging, sys, structlog
from decimal import Decimal
from dehedge.logs import configure_logging
SECRET = {SECRET!r}
configure_logging(level={level!r}, use_json={use_json}, secrets=[SECRET, "12345"])
log = structlog.get_logger("dehedge.somewhere")
"""
    done = subprocess.run([sys.executable, "-c", setup + script], capture_output=True, text=True, timeout=30, check=False)
    assert "s3cret" not in done.stderr
    return done.returncode, done.stdout


def read_events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_event_is_one_json_line_with_its_values_as_keys():
    _, output = run_script('log.info("hedge_opened", quantity=Decimal("1.50"), price=None, note="a\\nb")', use_json=True)

    (event,) = read_events(output)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "hedge_opened", "level": "info", "quantity": "1.50", "note": "a\nb"}


def test_event_is_one_console_line_without_color():
    _, output = run_script('log.warning("feed_failed", feed="chain", error="a\\nb")', use_json=False)

    (line,) = output.splitlines()
    assert "feed_failed" in line
    assert "feed=chain" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("use_json", [True, False])
def test_secret_is_replaced_wherever_it_stands(use_json: bool):
    script = """
log.info("a_" + SECRET, value=SECRET, nested={"key": [SECRET]}, url=f"https://h/?key={SECRET}")
logging.getLogger("library").warning("request to %s failed", SECRET)
from urllib.parse import quote
log.info("quoted_url", url=f"https://h/?signature={quote(SECRET, safe='')}")
try:
    raise ValueError(SECRET)
except ValueError:
    log.exception("it_failed")
"""
    code, output = run_script(script, use_json=use_json)

    assert code == 0
    assert "s3cret" not in output
    assert output.count(REDACTED) >= 7


def test_short_secret_is_left_because_words_hold_it():
    _, output = run_script('log.info("block_read", number=123456)', use_json=True)

    assert read_events(output)[0]["number"] == 123456


def test_other_libraries_are_heard_from_warning_up_on_one_line():
    script = """
logging.getLogger("httpx").info("HTTP Request: GET https://h/?key=1")
logging.getLogger("aiohttp.server").error("two\\nlines")
"""
    _, output = run_script(script, use_json=False, level="DEBUG")

    (line,) = output.splitlines()
    assert "two lines" in line


@pytest.mark.parametrize(("level", "count"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_level_is_the_least_that_is_told(level: str, count: int):
    script = 'log.debug("a"); log.info("b"); log.warning("c"); log.error("d")'
    _, output = run_script(script, use_json=True, level=level)

    assert len(read_events(output)) == count


def test_level_holds_for_other_libraries_when_it_is_above_warning():
    _, output = run_script('logging.getLogger("x").warning("a"); logging.getLogger("x").error("b")',
                           use_json=True, level="ERROR")  # fmt: skip

    assert [event["event"] for event in read_events(output)] == ["b"]


def test_crash_is_one_event_with_its_trace_and_without_secrets():
    code, output = run_script('raise ExceptionGroup("several", [RuntimeError(SECRET)])', use_json=True)

    (event,) = read_events(output)
    assert code == 1
    assert event["event"] == "process_crashed"
    assert event["level"] == "critical"
    assert "RuntimeError" in event["exception"]
    assert "s3cret" not in output


def test_terminal_is_not_moved_by_what_is_told():
    _, output = run_script('log.info("hedge_opened", market="\\x1b[2J\\rX", note="a\\nb", fine="é")', use_json=False)

    (line,) = output.splitlines()
    assert line.isprintable()
    assert "market=\\x1b[2J\\rX" in line
    assert "fine=é" in line


ASCII = "import io; sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='ascii', line_buffering=True)"


@pytest.mark.parametrize("use_json", [True, False])
def test_line_is_written_and_redacted_when_the_terminal_knows_no_such_character(use_json: bool):
    script = 'log.info("hedge_opened", market="\u20ac", note="\\ud800", key=SECRET)'
    setup = f"{ASCII}\nconfigure_logging(level='INFO', use_json={use_json}, secrets=[SECRET])\n"

    _, output = run_script(setup + script, use_json=use_json)

    assert "hedge_opened" in output
    assert REDACTED in output


def test_line_that_cannot_be_written_is_not_shown_elsewhere():
    script = "sys.stdout.close()\nlog.info('hedge_opened', key=SECRET)\nlog.info('hedge_closed', key=SECRET)"

    assert run_script(script, use_json=True) == (0, "")


@pytest.mark.parametrize(
    "failing",
    [
        "import threading; t = threading.Thread(target=lambda: int(SECRET)); t.start(); t.join()",
        "class Lost:\n    def __del__(self): raise ValueError(SECRET)\nlost = Lost()\ndel lost",
    ],
)
def test_error_that_nobody_can_catch_is_one_event_without_secrets(failing: str):
    _, output = run_script(failing, use_json=True)

    (event,) = read_events(output)
    assert event["event"] == "error_lost"
    assert "ValueError" in event["exception"]
    assert "s3cret" not in output


def test_crash_that_cannot_be_logged_is_told_without_its_secrets():
    script = """
def fail(*_, **__):
    raise LookupError(SECRET)

logging.getLogger().handlers[0].format = fail
logging.getLogger().handlers[0].handleError = fail
raise RuntimeError(SECRET)
"""
    code, output = run_script(script, use_json=True)

    assert (code, output) == (1, "")


def test_warning_of_python_is_one_line_without_secrets():
    _, output = run_script("import warnings; warnings.warn('the key is ' + SECRET)", use_json=True)

    (event,) = read_events(output)
    assert REDACTED in event["event"]


@given(st.text(min_size=SECRET_LENGTH_MIN, alphabet=st.characters(exclude_categories=["Cs"])))
def test_redactor_leaves_nothing_of_a_secret_however_it_is_written(secret: str):
    redact = Redactor([secret]).redact

    for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")):
        assert redact(f"before={form} after") == f"before={REDACTED} after"


def test_redactor_replaces_the_longer_secret_first():
    assert Redactor(["abcdef", "abcdefgh"]).redact("abcdefgh") == REDACTED
