"""What a run may depend on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.run import ENVIRONMENT, _read_settings


def test_settings_of_a_run_are_its_own_whatever_the_shell_and_the_folder_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "run").mkdir()
    (tmp_path / ".env").write_text("LEVERAGE=5\nMAX_OPENS_PER_HOUR=1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONNECTOR", "paper")

    settings = _read_settings(tmp_path / "run")

    given = {"state_url", *(name.lower() for name in ENVIRONMENT)}
    assert settings.model_fields_set == given
    assert (settings.connector, settings.leverage) == ("binance", 20)
