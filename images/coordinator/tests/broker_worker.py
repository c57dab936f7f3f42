"""A worker on the broker that speaks the contract by itself, as one in any language would."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from muster_testing.nats import NatsServer
from muster_testing.waiting import eventually

Document = dict[str, Any]
Handle = Callable[["BrokerWorker", Document], Awaitable[None]]

_BEAT_SECONDS = 0.5
# After so long it asks again: whoever was asked may be gone.
_ANSWER_SECONDS = 5.0
# For so long a test waits for the one answer to what it asks once.
_PATIENT_SECONDS = 60.0
_LOST = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)


async def finish(worker: "BrokerWorker", work: Document) -> None:
    """Begin and finish."""
    claim = {key: work[key] for key in ("workload_id", "generation")}
    await worker.report("workload.ack", claim)
    output = json.dumps({"by": worker.name})
    await worker.report("workload.completed", claim | {"output": output, "duration_ms": 1})


async def ignore(_worker: "BrokerWorker", _work: Document) -> None:
    """Do nothing with it."""


def envelope(sender: str, kind: str, payload: Mapping[str, Any], **more: str) -> Document:
    """A message of a worker."""
    return {
        "message_id": uuid.uuid4().hex,
        "type": kind,
        "timestamp": datetime.now(UTC).isoformat(),
        "sender_id": sender,
        "sender_type": "worker",
        "correlation_id": "",
        "payload": dict(payload),
    } | more


class BrokerWorker:
    """A worker; `handle` is what it does with each assignment."""

    def __init__(
        self,
        server: NatsServer,
        name: str = "w-0",
        handle: Handle = finish,
        capacity: int = 4,
        types: tuple[str, ...] = ("echo",),
    ) -> None:
        self.name = name
        self.session = ""
        self.commands: list[Document] = []
        self.answers: dict[str, Document] = {}
        # A dot would be another level of the subject.
        self._subject = f"worker.{name.replace('.', '%2E')}"
        self._url = server.url
        self._handle = handle
        self._about = {"pool": "general", "capacity": capacity, "types": types}
        self._client = Client()
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: set[str] = set()
        self._arrived = asyncio.Event()
        self._registering = asyncio.Lock()
        self._holder = ""
        self._patience = 0.0
        self._news_at = 0.0

    async def __aenter__(self) -> Self:
        self._client = await nats.connect(
            self._url,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0,
            error_cb=_ignored,
        )
        await self._client.subscribe(f"{self._subject}.commands", cb=self._commanded)
        await self._client.subscribe("coordinator.broadcast", cb=self._told)
        await self.register()
        self.keep(self._beat())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()

    async def kill(self) -> None:
        """Be gone without a word."""
        await self._stop()
        await self._client.close()

    async def leave(self) -> None:
        """Stop all that it does, and say so."""
        await self._stop()
        await self.ask("worker.leave")

    def keep(self, work: Any) -> None:
        """Do something beside."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def register(self) -> Document:
        """Register, until a coordinator answers that it is so."""
        while True:
            asked = envelope(self.name, "worker.register", self._about)
            self.session, self._holder = asked["message_id"], ""
            try:
                answer = await self.request(asked, patience=_ANSWER_SECONDS)
            except _LOST:
                await asyncio.sleep(0.05)
                continue
            said = answer["payload"]
            if said["outcome"] == "accepted":
                self._holder = said["coordinator_id"]
                self._patience = 5 * said["news_ms"] / 1000
                self._news_at = time.monotonic()
                return answer
            await asyncio.sleep(0.05)

    async def ask(
        self,
        kind: str,
        payload: Mapping[str, Any] | None = None,
        *,
        patience: float = _PATIENT_SECONDS,
    ) -> Document:
        """Ask whichever coordinator answers; the payload of the answer."""
        asked = envelope(self.name, kind, payload or {})
        answer: Document = (await self.request(asked, patience=patience))["payload"]
        return answer

    async def request(
        self, asked: Document, subject: str = "", *, patience: float = _PATIENT_SECONDS
    ) -> Document:
        """Send a message on this worker's status subject, and wait for its answer."""
        answer = await self._client.request(
            subject or f"{self._subject}.status", json.dumps(asked).encode(), timeout=patience
        )
        found: Document = json.loads(answer.data)
        assert found["type"] == "coordinator.answer"
        assert found["sender_type"] == "coordinator"
        return found

    async def report(self, kind: str, payload: Mapping[str, Any]) -> Document:
        """Report, again and again until it is answered; the payload of the answer."""
        said = envelope(self.name, kind, payload)
        copy = 0
        while True:
            copy += 1
            with contextlib.suppress(*_LOST):
                await self.send(said, copy)
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await self.answered(said)

    async def send(self, said: Document, copy: int = 1) -> None:
        """Have JetStream keep an event; it keeps one of several with the same `copy`."""
        headers = {"Nats-Msg-Id": f"{said['message_id']}/{copy}"}
        await self._client.jetstream().publish(
            "coordinator.events", json.dumps(said).encode(), headers=headers
        )

    async def answered(self, said: Document) -> Document:
        """The payload of the answer to a message, once it is there."""
        while said["message_id"] not in self.answers:
            self._arrived.clear()
            await self._arrived.wait()
        found: Document = self.answers[said["message_id"]]["payload"]
        return found

    async def told(self, kind: str, count: int = 1) -> Document:
        """The payload of the latest command of a type, once there are so many."""

        def probe() -> Document | None:
            found = [one for one in self.commands if one["type"] == kind]
            return found[-1] if len(found) >= count else None

        found = await eventually(probe, what=f"{self.name} is told {kind}")
        assert found is not None
        payload: Document = found["payload"]
        return payload

    async def _stop(self) -> None:
        # Again and again: before Python 3.12 `asyncio.wait_for`, by which the client waits for
        # answers, forgets a cancellation that comes together with one.
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.1)

    async def _commanded(self, message: Msg) -> None:
        said = json.loads(message.data)
        if said["type"] == "coordinator.answer":
            self.answers[said["correlation_id"]] = said
            self._arrived.set()
            return
        if message.reply:
            mine = said["correlation_id"] == self.session
            received = envelope(self.name, "worker.received", {"session": mine})
            await message.respond(json.dumps(received).encode())
            if not mine:
                return
        if said["message_id"] in self._seen:
            return
        self._seen.add(said["message_id"])
        self.commands.append(said)
        if said["type"] == "workload.assign":
            self.keep(self._handle(self, said["payload"]))
        elif said["type"] == "worker.detached" and said["correlation_id"] == self.session:
            self.keep(self._again(self.session))

    async def _told(self, message: Msg) -> None:
        said = json.loads(message.data)
        if said["payload"]["coordinator_id"] == self._holder:
            leaves = said["type"] == "coordinator.leaving"
            self._news_at = 0.0 if leaves else time.monotonic()

    async def _again(self, over: str) -> None:
        """Register in the place of a session, unless somebody else has done so."""
        async with self._registering:
            if self.session == over:
                await self.register()

    async def _beat(self) -> None:
        missed = 0
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            # Whose session it is says so where it has ended: its first word may have been lost.
            session = self.session
            beat = {"session": session, "coordinator_id": self._holder}
            try:
                answer = await self.ask("worker.heartbeat", beat, patience=_ANSWER_SECONDS)
            except _LOST:
                missed += 1
                continue
            alone = time.monotonic() - self._news_at > self._patience
            if answer["outcome"] == "not_found" or missed > 2 or alone:
                await self._again(session)
            missed = 0


async def _ignored(_: Exception) -> None:
    return
