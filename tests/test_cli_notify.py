"""``dehedge notify`` without a daemon: what arrives, what is said, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dehedge.cli_notify import send_test_message
from dehedge.errors import ConfigError
from dehedge.outward import describe_failure
from tests.adapters.notify.test_sender import KEY, a_hook

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETWORKS", "http://127.0.0.1:1")
    monkeypatch.setenv("CONNECTOR", "paper")


async def test_notify_tries_every_address_and_says_which_one_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    async with a_hook() as well, a_hook() as ill:
        ill.status = 404
        monkeypatch.setenv("NOTIFY_URLS", f"{well.url},{ill.url}")
        code = await send_test_message(use_json=False)

    first, second = capsys.readouterr().out.splitlines()
    assert code == 1
    assert first == "NOTIFY_URLS 1 (json): sent"
    assert second.startswith("NOTIFY_URLS 2 (json): FAILED: ")
    assert "404" in second
    assert KEY not in second
    assert "test message" in well.got[0]["message"]
    assert "(PAPER)" in well.got[0]["title"]


async def test_notify_pings_the_dead_mans_switch_and_prints_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HEARTBEAT_URL", f"http://127.0.0.1:1/{KEY}")

    assert await send_test_message(use_json=True) == 1

    ((address, failure),) = [tuple(row.values()) for row in json.loads(capsys.readouterr().out)["addresses"]]
    assert (address, failure) == ("HEARTBEAT_URL", "ClientConnectorError")


async def test_notify_says_what_to_set_when_nobody_would_be_told():
    with pytest.raises(ConfigError, match="^NOTIFY_URLS: not set, nor is HEARTBEAT_URL"):
        await send_test_message(use_json=False)


async def test_notify_refuses_an_address_that_apprise_does_not_know(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFY_URLS", f"tgarm://{KEY}")

    with pytest.raises(ConfigError, match="tgarm") as caught:
        await send_test_message(use_json=False)
    assert KEY not in str(caught.value)


def test_failure_that_ended_the_daemon_is_told_without_words_that_may_hold_a_secret():
    group = BaseExceptionGroup("", [ExceptionGroup("", [RuntimeError(KEY)])])

    assert describe_failure(group) == "RuntimeError"
    assert describe_failure(ConfigError("LEVERAGE: wrong")) == "LEVERAGE: wrong"
    assert describe_failure(None) is None
