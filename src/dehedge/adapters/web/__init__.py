"""The HTTP surface: health, readiness, metrics, the read API, and the operator's commands.

``server`` has the paths, ``guard`` what is refused before anything is done, ``connection`` what one connection may cost.
Made by the daemon.
"""

from dehedge.adapters.web.server import WebServer

__all__ = ["WebServer"]
