"""Messages that were handled lately, so that copies of them are only answered again."""

import asyncio
from collections import OrderedDict

from muster_broker.messages import Answer

MOST = 20_000


class Recent:
    """Remembers the last messages by their ids, with what was answered to them.

    What is forgotten and comes again goes to the engine, which knows every report that it took in.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._answers: OrderedDict[str, asyncio.Future[Answer | None]] = OrderedDict()

    def of(self, message_id: str) -> asyncio.Future[Answer | None] | None:
        """What is or will be answered to a message; None where it is new."""
        return self._answers.get(message_id)

    def begin(self, message_id: str) -> asyncio.Future[Answer | None]:
        """A new message is being handled; its answer is to be put into the future."""
        answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._answers[message_id] = answer
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)
        return answer

    def forget(self, message_id: str) -> None:
        """It could not be handled, and will come again."""
        answer = self._answers.pop(message_id, None)
        if answer is not None and not answer.done():
            answer.set_result(None)
