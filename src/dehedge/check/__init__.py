"""``dehedge check``: tries every part of the configuration against the real services, read-only, one line each.

Sends no order, changes no setting of the account and writes nothing that the daemon would not find as it was. What the
daemon would wait for is tried once here. Called by ``cli``.
"""

from dehedge.check.run import run_checks

__all__ = ["run_checks"]
