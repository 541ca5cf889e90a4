"""How hypothesis runs the core's properties: no deadline, for the machines of CI are slow at times."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("core", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("core")
