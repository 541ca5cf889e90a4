"""Messages to people, through apprise: ``outbox`` has what waits and when it may go, ``sender`` the way out.

Made by ``outward``. Nothing here ever holds a hedge: to tell is to append to a list. ``sender`` is imported where it is
needed, because the library takes 35 MB.
"""

from dehedge.adapters.notify.outbox import NotDelivered, Outbox, Sender

__all__ = ["NotDelivered", "Outbox", "Sender"]
