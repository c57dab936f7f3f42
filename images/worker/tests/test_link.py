"""TLS and tokens on the way to the coordinator."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from muster_proving import KeyMaterial
from muster_testing.authority import Authority
from muster_testing.waiting import eventually

from .conftest import LocalWorker, settings, streaming
from .recording import INPUTS, RecordingCoordinator, until

pytestmark = pytest.mark.integration


class Certs:
    """An authority, and certificates of a coordinator and a worker, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority("test")
        self.authority.write(folder / "ca.crt")
        self.authority.issue("coordinator", folder / "server", dns=["demo-coordinator"])
        self.authority.issue("worker", folder / "worker")

    def server(self, *, mutual: bool) -> grpc.ServerCredentials:
        pair = [(self.folder / f"server.{end}").read_bytes() for end in ("key", "crt")]
        return grpc.ssl_server_credentials(
            [(pair[0], pair[1])],
            (self.folder / "ca.crt").read_bytes() if mutual else None,
            require_client_auth=mutual,
        )

    def section(self, *, mutual: bool) -> dict[str, str]:
        names = {"ca_file": "ca.crt"}
        if mutual:
            names |= {"cert_file": "worker.crt", "key_file": "worker.key"}
        files = {key: str(self.folder / name) for key, name in names.items()}
        return files | {"server_name": "demo-coordinator"}


@pytest.fixture
def range_keys(keys: list[KeyMaterial]) -> list[KeyMaterial]:
    return [key for key in keys if key.spec.name == "range"]


def _worker(coordinator: RecordingCoordinator, root: Path, **sections: Any) -> LocalWorker:
    own = sections.pop("worker", {})
    return LocalWorker(settings(coordinator, root, **own) | sections)


@pytest.mark.parametrize("mutual", [False, True])
async def test_a_worker_proves_over_tls(
    range_keys: list[KeyMaterial], tmp_path: Path, *, mutual: bool
) -> None:
    certs = Certs(tmp_path)
    coordinator = RecordingCoordinator(range_keys, certs.server(mutual=mutual))
    await coordinator.start()
    worker = _worker(coordinator, tmp_path, tls=certs.section(mutual=mutual))
    await streaming(coordinator, worker.ops)
    await until(coordinator.assign("task-1", "range", INPUTS["range"]), "completed")
    await worker.leave()
    await coordinator.stop()


async def test_a_coordinator_of_another_name_or_authority_is_not_believed(
    range_keys: list[KeyMaterial], tmp_path: Path
) -> None:
    certs = Certs(tmp_path)
    coordinator = RecordingCoordinator(range_keys, certs.server(mutual=False))
    await coordinator.start()
    section = certs.section(mutual=False)
    other = tmp_path / "other.crt"
    Authority("other").write(other)
    for number, wrong in enumerate(({"server_name": "else"}, {"ca_file": str(other)})):
        worker = _worker(coordinator, tmp_path / str(number), tls=section | wrong)
        await worker.ops.until_problem("UNAVAILABLE")
        await worker.abort()
    assert not coordinator.registrations
    await coordinator.stop()


async def test_renewed_certificates_are_used_for_the_next_connection(
    range_keys: list[KeyMaterial], tmp_path: Path
) -> None:
    certs = Certs(tmp_path)
    coordinator = RecordingCoordinator(range_keys, certs.server(mutual=True))
    await coordinator.start()
    worker = _worker(coordinator, tmp_path, tls=certs.section(mutual=True))
    await streaming(coordinator, worker.ops)
    await coordinator.stop()
    # Nothing of before is good any more: another authority, another pair on both sides.
    coordinator.credentials = Certs(tmp_path).server(mutual=True)
    await coordinator.start()
    await streaming(coordinator, worker.ops)
    await worker.leave()
    await coordinator.stop()


async def test_the_token_opens_the_stream_and_is_read_again_for_the_next(
    coordinator: RecordingCoordinator, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    worker = _worker(coordinator, tmp_path, worker={"token_file": str(token)})
    await streaming(coordinator, worker.ops)
    calls = {"ListKeys", "GetProvingKey", "Session"}
    assert {coordinator.tokens[call] for call in calls} == {"Bearer first"}
    token.write_text("second")
    coordinator.break_streams()
    await eventually(lambda: coordinator.tokens["Session"] == "Bearer second", what="the new token")
    await worker.leave()
    assert coordinator.tokens["DeregisterWorker"] == "Bearer second"


async def test_the_token_goes_with_every_single_call_and_is_read_again(
    coordinator: RecordingCoordinator, tmp_path: Path
) -> None:
    coordinator.speaks_session = False
    token = tmp_path / "token"
    token.write_text("first\n")
    worker = _worker(coordinator, tmp_path, worker={"token_file": str(token)})
    await streaming(coordinator, worker.ops)
    await until(coordinator.assign("task-1", "range", INPUTS["range"]), "completed")
    calls = {"ListKeys", "GetProvingKey", "RegisterWorker", "ReceiveTasks", "StartTask"}
    calls |= {"ReportCompletion"}
    assert {coordinator.tokens[call] for call in calls} == {"Bearer first"}
    token.write_text("second")
    await eventually(
        lambda: coordinator.tokens.get("SendHeartbeat") == "Bearer second",
        what="the new token with a heartbeat",
    )
    token.unlink()
    await worker.ops.until_problem("token: no token: ")
    token.write_text("third")
    await streaming(coordinator, worker.ops)
    assert coordinator.tokens["ReceiveTasks"] == "Bearer third"
    await worker.leave()
    assert coordinator.tokens["DeregisterWorker"] == "Bearer third"


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED]
)
async def test_a_worker_that_is_not_let_in_goes_on_asking(
    coordinator: RecordingCoordinator, tmp_path: Path, code: grpc.StatusCode
) -> None:
    coordinator.errors["ListKeys"] = code
    worker = _worker(coordinator, tmp_path)
    await worker.ops.until_problem(code.name)
    del coordinator.errors["ListKeys"]
    await streaming(coordinator, worker.ops)
    await worker.leave()


async def test_a_result_waits_where_the_token_is_refused_for_a_while(
    coordinator: RecordingCoordinator, tmp_path: Path
) -> None:
    worker = _worker(coordinator, tmp_path)
    await streaming(coordinator, worker.ops)
    coordinator.errors["ReportCompletion"] = grpc.StatusCode.UNAUTHENTICATED
    record = coordinator.assign("task-1", "range", INPUTS["range"])
    await worker.ops.until_metric(1, "worker_pending_reports")
    del coordinator.errors["ReportCompletion"]
    await until(record, "completed")
    await worker.leave()
