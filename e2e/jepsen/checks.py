"""What a history shows to be broken. Pure: a history in, sentences out, none where all is well.

A register's writes name what they replace, so the checker knows which write may stand for which: a
write is accounted for where it is shown, where it was deleted, or where one that may have replaced
it is accounted for. What a write replaced for certain must not be shown once that is acknowledged.
What one read was shown, and a quorum has, is as good as acknowledged for the reads that come later.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

from e2e.jepsen.history import Addition, Again, Outcome, Read, Write


def lost_or_back(writes: Iterable[Write], reads: Iterable[Read]) -> list[str]:
    """Judge registers: what reads were shown against what was acknowledged before they began.

    A read that begins after everything has ended, at the end of a run, is one of the `reads`.
    """
    by_key: dict[str, list[Write]] = defaultdict(list)
    for write in writes:
        if write.outcome is not Outcome.NOT_DONE:
            by_key[write.key].append(write)
    of_key: dict[str, list[Read]] = defaultdict(list)
    for read in reads:
        of_key[read.key].append(read)
    found: list[str] = []
    for key, those in of_key.items():
        register = _Register(by_key[key], those)
        for read in those:
            found += register.faults_of(read)
    return found


class _Register:
    """The writes of one key, and since when a quorum is known to have each."""

    def __init__(self, writes: Iterable[Write], reads: Iterable[Read]) -> None:
        self._writes = {write.name: write for write in writes}
        self._in_order = sorted(self._writes.values(), key=lambda write: write.begun)
        self._known = {write.name: write.ended for write in self._in_order}
        for read in reads:
            for name in read.known & self._known.keys():
                self._known[name] = min(self._known[name], read.ended)

    def faults_of(self, read: Read) -> list[str]:
        """What is wrong with one read."""
        where = f"{read.key}, read at {read.begun:.3f}"
        unknown = sorted(name for name in read.found if not self._was_asked_for(name, read))
        faults = [f"{where}: {name} was shown, and nobody wrote it" for name in unknown]
        accounted = self._accounted(read)
        for write in self._in_order:
            if self._known[write.name] < read.begun and write.name not in accounted:
                how = "acknowledged" if write.ended < read.begun else "shown before"
                faults.append(f"{where}: {write.name} was {how} and is lost")
            if write.ended >= read.begun:
                continue
            faults += [
                f"{where}: {name} was shown, after {write.name} had replaced it"
                for name in sorted((write.seen or frozenset()) & read.found)
                if self._was_over(name, write)
            ]
        return faults

    def _was_asked_for(self, name: str, read: Read) -> bool:
        write = self._writes.get(name)
        return write is not None and not write.deletes and write.begun <= read.ended

    def _was_over(self, name: str, replacer: Write) -> bool:
        """Whether a write was acknowledged before what replaced it began.

        One under way may be done by a second replica, which replaces what it has not replaced yet.
        """
        write = self._writes.get(name)
        return write is not None and write.ended <= replacer.begun

    def _accounted(self, read: Read) -> set[str]:
        """Names of all writes that are shown, or deleted, or perhaps replaced by such."""
        waiting = [
            write
            for write in self._in_order
            if (write.deletes or write.name in read.found) and write.begun <= read.ended
        ]
        found = {write.name for write in waiting}
        later = deque(self._in_order)
        while waiting:
            write = waiting.pop()
            replaced = [self._writes[name] for name in write.seen or () if name in self._writes]
            # A blind one may have replaced all that began before it ended.
            while write.seen is None and later and later[0].begun <= write.ended:
                replaced.append(later.popleft())
            waiting += [other for other in replaced if other.name not in found]
            found |= {other.name for other in replaced}
        return found


def not_recognised(agains: Iterable[Again]) -> list[str]:
    """Judge writes that were asked for again: each must be told apart from a new one."""
    return [
        f"{again.key}: {again.name} was acknowledged, asked for again, and taken for a new write"
        for again in agains
        if not again.duplicate
    ]


def missing_elements(
    additions: Iterable[Addition], final: Mapping[str, frozenset[str]]
) -> list[str]:
    """Judge sets that only grow: every acknowledged element is there, and none from nowhere."""
    asked: dict[str, set[str]] = defaultdict(set)
    found: list[str] = []
    for addition in additions:
        if addition.outcome is not Outcome.NOT_DONE:
            asked[addition.key].add(addition.name)
        held = final.get(addition.key, frozenset())
        if addition.outcome is Outcome.DONE and addition.name not in held:
            found.append(f"{addition.key}: {addition.name} was acknowledged and is lost")
    for key, held in final.items():
        strange = sorted(held - asked[key])
        found += [f"{key}: {name} is there, and nobody added it" for name in strange]
    return found


def wrong_totals(additions: Iterable[Addition], final: Mapping[str, int]) -> list[str]:
    """Judge counters: each acknowledged amount is in the total once, and no other more than once.

    Amounts are positive.
    """
    least: dict[str, int] = defaultdict(int)
    most: dict[str, int] = defaultdict(int)
    for addition in additions:
        if addition.outcome is Outcome.DONE:
            least[addition.key] += addition.amount
        if addition.outcome is not Outcome.NOT_DONE:
            most[addition.key] += addition.amount
    return [
        f"{key}: {total}; acknowledged are {least[key]}, asked for {most[key]}"
        for key, total in sorted(final.items())
        if not least[key] <= total <= most[key]
    ]
