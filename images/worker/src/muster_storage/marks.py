"""Which parts of the token space have changed since when, at one store for each write."""

from array import array

_BITS = 16
_SHIFT = 64 - _BITS


class Marks:
    """The number of the last commit in each of 65,536 parts of the token space.

    The writing thread marks after it has committed; readers ask for `now` before they look at the
    data. So what a reader has seen is never taken for newer than it is.
    """

    def __init__(self) -> None:
        self._last = array("Q", bytes(8 << _BITS))
        self._commits = 1

    @property
    def now(self) -> int:
        """All commits up to this number are marked."""
        return self._commits

    def committed(self, tokens: "list[int] | set[int]") -> None:
        """Records with these tokens have been changed, durably."""
        number = self._commits + 1
        last = self._last
        for token in tokens:
            last[token >> _SHIFT] = number
        self._commits = number

    def all_changed(self) -> None:
        """Nothing is known of what was seen before."""
        self._last = array("Q", [self._commits + 1]) * (1 << _BITS)
        self._commits += 1

    def changed_since(self, number: int, first: int, last: int) -> bool:
        """Whether a token from `first` to `last` may have changed after commit `number`."""
        return max(self._last[first >> _SHIFT : (last >> _SHIFT) + 1]) > number
