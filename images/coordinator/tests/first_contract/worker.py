"""A worker that knows the first contract and nothing else; run as a program.

It is generated from its own proto, pings every 10 s with or without calls, sends a heartbeat every
10 s, says which circuits it proves and not with which keys. What happens is told on standard
output, one JSON object a line. An odd number of tasks: the first it is given fails.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import grpc
from grpc_tools import protoc

from muster_proving import load_proving_key, parse_circuit

WORKER = "first-worker"
EVERY_SECONDS = 10.0
# A machine may be slow.
CALL_SECONDS = 30.0
SAYING = threading.Lock()

PINGS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # This library would fall silent after two pings; others do not.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


def generated() -> tuple[Any, Any]:
    """The modules that are generated from the first contract."""
    folder = tempfile.mkdtemp()
    here = Path(__file__).parent
    arguments = ["", f"-I{here}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main([*arguments, "coordinator.proto"]) == 0
    sys.path.insert(0, folder)
    import coordinator_pb2  # type: ignore[import-not-found]  # noqa: PLC0415
    import coordinator_pb2_grpc  # type: ignore[import-not-found]  # noqa: PLC0415

    return coordinator_pb2, coordinator_pb2_grpc


def say(event: str, **more: object) -> None:
    """Tell what happened."""
    # One thread at a time, as a line and its end are written apart.
    with SAYING:
        print(json.dumps({"event": event, **more}), flush=True)  # noqa: T201


class Worker:
    """One connection, never made again: where it breaks, that is told."""

    def __init__(self, target: str, key: Path, version: str) -> None:
        self.pb, stubs = generated()
        self.prover = load_proving_key(parse_circuit("addition"), key.read_bytes(), version)
        self.stub = stubs.CoordinatorServiceStub(grpc.insecure_channel(target, options=PINGS))

    def run(self) -> None:
        """Register, then serve until the stream ends."""
        answer = self.stub.RegisterWorker(
            self.pb.RegisterWorkerRequest(
                worker_id=WORKER,
                max_concurrent_tasks=1,
                capabilities={"circuits": "merkle,range,addition"},
            ),
            timeout=CALL_SECONDS,
        )
        say("registered", success=answer.success, message=answer.message)
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            for number, task in enumerate(
                self.stub.ReceiveTasks(self.pb.ReceiveTasksRequest(worker_id=WORKER))
            ):
                self._handle(number, task)
        except grpc.RpcError as error:
            say("broken", error=str(error))
        say("ended")

    def _beat(self) -> None:
        while True:
            time.sleep(EVERY_SECONDS)
            beat = self.pb.HeartbeatRequest(worker_id=WORKER, timestamp=int(time.time()))
            try:
                say("beat", success=self.stub.SendHeartbeat(beat, timeout=CALL_SECONDS).success)
            except grpc.RpcError as error:
                say("broken", error=str(error))

    def _handle(self, number: int, task: Any) -> None:
        say("assigned", task_id=task.task_id, circuit=task.circuit_type)
        mine = {"task_id": task.task_id, "worker_id": WORKER}
        self.stub.StartTask(self.pb.StartTaskRequest(**mine), timeout=CALL_SECONDS)
        if number == 0:
            failure = self.pb.TaskFailureRequest(error_message="a hiccup", **mine)
            say("failed", success=self.stub.ReportFailure(failure, timeout=CALL_SECONDS).success)
            return
        bundle = self.prover.prove(json.loads(task.input_data_json))
        completion = self.pb.TaskCompletionRequest(
            proof_data=bundle.proof,
            proof_metadata_json=json.dumps({"public_inputs": bundle.public}).encode(),
            duration_ms=bundle.duration_ms,
            **mine,
        )
        answer = self.stub.ReportCompletion(completion, timeout=CALL_SECONDS)
        say("completed", success=answer.success, message=answer.message)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("key", type=Path)
    parser.add_argument("version")
    options = parser.parse_args()
    Worker(options.target, options.key, options.version).run()
