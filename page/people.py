"""Whose a visitor is: the sessions of one address are one person's, whatever number of them is opened.

Goes in: what the guard sees of requests. Comes out: for each session, whose it is. Limits count for a person;
answers belong to a session. Knows nothing of HTTP and of answers.
"""

import ipaddress
import threading
from collections import OrderedDict

MOST_KNOWN = 20_000  # sessions; who was not seen for longest is forgotten


class People:
    """Whose the sessions are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: OrderedDict[str, str] = OrderedDict()

    def meet(self, session: str, person: str) -> None:
        """Hear that a session was seen at an address."""
        with self._lock:
            self._of[session] = person
            self._of.move_to_end(session)
            while len(self._of) > MOST_KNOWN:
                self._of.popitem(last=False)

    def of(self, session: str) -> str:
        """Return whose a session is; one that was not seen is its own."""
        with self._lock:
            return self._of.get(session, session)


def person_at(address: str) -> str:
    """Return who is at an address; of IPv6, where each household has many, its network of 64 bits."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((known, 64), strict=False))
    return str(known)
