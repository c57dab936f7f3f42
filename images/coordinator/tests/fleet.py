"""Simulated workers as a process of their own, so that they can be killed: run as a script.

Each serves for ever, with proofs made before: registers, takes tasks, begins, takes a moment,
reports until it is answered, and begins anew with another connection whenever something breaks.
"""

import asyncio
import contextlib
import json
import random
import sys
import uuid
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub

# On a busy machine most answers would come too late for less, and each loses a task its worker.
_CALL_SECONDS = 10.0
_BEAT_SECONDS = 0.5
_WORK_SECONDS = 0.05

_FINAL = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}


class SimulatedWorker:
    """One worker, by its name."""

    def __init__(self, target: str, name: str, keys: str, proofs: dict[bytes, bytes]) -> None:
        self._target = target
        self._name = name
        self._keys = keys
        self._proofs = proofs
        self._stub: Any = None

    async def serve(self) -> None:
        """Work for ever."""
        while True:
            options = (("grpc.use_local_subchannel_pool", 1),)
            async with grpc.aio.insecure_channel(self._target, options=options) as channel:
                self._stub = CoordinatorServiceStub(channel)
                with contextlib.suppress(grpc.aio.AioRpcError, ExceptionGroup):
                    await self._connected()
            await asyncio.sleep(random.uniform(0.1, 0.3))

    async def _connected(self) -> None:
        await self._stub.RegisterWorker(
            pb.RegisterWorkerRequest(
                worker_id=self._name,
                max_concurrent_tasks=1,
                capabilities={"circuits": "addition", "keys": self._keys},
                pool="demo",
                # It has forgotten what it had, as a process that was started anew.
                tags={"instance": uuid.uuid4().hex},
            ),
            timeout=_CALL_SECONDS,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            async for task in self._stub.ReceiveTasks(pb.ReceiveTasksRequest(worker_id=self._name)):
                await self._work(task)
            raise ExceptionGroup("the stream ended", [ConnectionError()])

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            request = pb.HeartbeatRequest(worker_id=self._name)
            answer = await self._stub.SendHeartbeat(request, timeout=_CALL_SECONDS)
            if not answer.known:
                raise ConnectionError("forgotten")

    async def _work(self, task: pb.TaskAssignment) -> None:
        claim: dict[str, Any] = {
            "task_id": task.task_id,
            "worker_id": self._name,
            "generation": task.generation,
        }
        proof = self._proofs[task.input_data_json]
        if await self._told(self._stub.StartTask, pb.StartTaskRequest(**claim)):
            await asyncio.sleep(random.uniform(0, _WORK_SECONDS))
            done = pb.TaskCompletionRequest(proof_data=proof, duration_ms=1, **claim)
            await self._told(self._stub.ReportCompletion, done)

    async def _told(self, call: Any, request: object) -> bool:
        """Whether a report counts; tried three times, then the connection is taken for broken."""
        for tries in range(3):
            try:
                await call(request, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() in _FINAL:
                    return False
                if tries == 2:
                    raise
                await asyncio.sleep(0.1)
            else:
                return True
        return False


async def _serve(target: str, names: list[str], keys: str, proofs: dict[bytes, bytes]) -> None:
    await asyncio.gather(*(SimulatedWorker(target, name, keys, proofs).serve() for name in names))


def _read(path: Path) -> dict[bytes, bytes]:
    found = json.loads(path.read_text())
    return {inputs.encode(): bytes.fromhex(proof) for inputs, proof in found.items()}


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2].split(","), sys.argv[3], _read(Path(sys.argv[4]))))
