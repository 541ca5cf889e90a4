"""``dehedge check``: tries every part of the configuration against the real services, read-only, one line each.

Sends no order, changes no setting of the account and writes nothing that the daemon would not find as it was. What the
daemon would wait for is tried once here, all at once and in bounded time. Exit code 0 when nothing failed, 78 when the
configuration itself cannot be read, else 1. Called by ``cli``.
"""

from __future__ import annotations

from dehedge.check.report import Report, build_failure
from dehedge.config import read_configuration
from dehedge.errors import ConfigError
from dehedge.logs import Redactor, configure_logging

__all__ = ["run_checks"]

EXIT_FAILED = 1
EXIT_CONFIG = 78


async def run_checks(*, use_json: bool) -> int:
    """Check everything and tell of it on standard output; returns the exit code."""
    report = Report(use_json)
    try:
        settings, symbols = read_configuration()
    except ConfigError as error:
        report.add(*(build_failure("configuration", problem) for problem in error.problems))
        report.finish()
        return EXIT_CONFIG

    # The daemon's libraries take over a second to import; a configuration error is told before that.
    from dehedge.check.steps import check_all

    secrets = settings.get_secret_texts()
    report.redactor = Redactor(secrets)
    # The parts' own log would stand between the lines; what matters of it is in them.
    configure_logging(level="CRITICAL", use_json=False, secrets=secrets)
    await check_all(report, settings, symbols)
    report.finish()
    return 0 if report.is_passed else EXIT_FAILED
