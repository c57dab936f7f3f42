"""Ranges of tokens."""

import msgspec

from muster_kv.slots import TOKEN_BYTES, TOKENS


class TokenRange(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """Tokens `first` to `last`, both included; never around the end of the ring."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last < TOKENS:
            raise ValueError(
                f"token range: {self.first} to {self.last}; allowed: 0 to 2^64 - 1, in order"
            )

    def __contains__(self, token: int) -> bool:
        return self.first <= token <= self.last

    def slots(self) -> tuple[bytes, bytes | None]:
        """Return the least slot in the range, and the least after it (None: there is none)."""
        after = self.last + 1
        end = after.to_bytes(TOKEN_BYTES, "big") if after < TOKENS else None
        return self.first.to_bytes(TOKEN_BYTES, "big"), end


WHOLE_RING = TokenRange(0, TOKENS - 1)


def between(previous: int, token: int) -> list[TokenRange]:
    """Return the tokens after `previous` up to and with `token`, clockwise: one range or two.

    All tokens where both are equal.
    """
    if previous < token:
        return [TokenRange(previous + 1, token)]
    ranges = [TokenRange(0, token)]
    if previous + 1 < TOKENS:
        ranges.append(TokenRange(previous + 1, TOKENS - 1))
    return coalesce(ranges)


def coalesce(ranges: list[TokenRange]) -> list[TokenRange]:
    """Return the same tokens in as few ranges as possible, in order."""
    merged: list[TokenRange] = []
    for each in sorted(ranges):
        if merged and each.first <= merged[-1].last + 1:
            last = max(each.last, merged[-1].last)
            merged[-1] = TokenRange(merged[-1].first, last)
        else:
            merged.append(each)
    return merged
