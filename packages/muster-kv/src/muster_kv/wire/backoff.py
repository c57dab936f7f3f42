"""How long to wait before the next try."""


class Backoff:
    """Doubles from `first` to `most` seconds; half of each wait is random, to spread clients."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._wait = first

    def next(self, fraction: float) -> float:
        """Return the seconds to wait; `fraction` is random, from 0 to 1."""
        wait = self._wait
        self._wait = min(self._most, 2 * wait)
        return wait * (0.5 + fraction / 2)

    def reset(self) -> None:
        """Begin anew: it went well."""
        self._wait = self._first
