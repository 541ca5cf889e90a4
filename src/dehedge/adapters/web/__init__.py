"""The HTTP surface: health, readiness, metrics, the read API, the operator's commands, and the dashboard.

``server`` has the paths, ``guard`` what is refused before anything is done, ``connection`` what one connection may cost,
``dashboard`` the page with its data, ``stream`` what it is told by the second. Made by the daemon.
"""

from dehedge.adapters.web.dashboard import Dashboard
from dehedge.adapters.web.server import WebServer

__all__ = ["Dashboard", "WebServer"]
