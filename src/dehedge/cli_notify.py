"""``dehedge notify``: a test message to every address that the daemon would tell, and what became of each.

Needs no daemon. Exit 0 when all have arrived, 1 when one has not.
"""

from __future__ import annotations

import json

from dehedge.config import read_settings
from dehedge.errors import ConfigError
from dehedge.logs import Redactor
from dehedge.outward import try_addresses


async def send_test_message(*, use_json: bool) -> int:
    """Raises ``ConfigError`` where there is nothing to try, or an address cannot be used."""
    settings = read_settings()
    trials = await try_addresses(settings)
    if not trials:
        raise ConfigError("NOTIFY_URLS: not set, nor is HEARTBEAT_URL: nobody would be told; put an address into .env")
    if use_json:
        print(json.dumps({"addresses": [trial._asdict() for trial in trials]}, indent=2))
    else:
        redact = Redactor(settings.get_secret_texts()).redact
        for trial in trials:
            print(redact(f"{trial.address}: {'sent' if trial.failure is None else f'FAILED: {trial.failure}'}"))
    return 0 if all(trial.failure is None for trial in trials) else 1
