"""The proof API of a coordinator, as a client sees it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import click
import httpx

_ENDED = frozenset({"completed", "failed", "cancelled"})


class ProofApi:
    """Submits tasks to a coordinator and waits for their proofs.

    Args:
        base_url: URL of the coordinator's HTTP port.
    """

    def __init__(self, base_url: str) -> None:
        # Longer than the longest poll below.
        self._http = httpx.AsyncClient(base_url=base_url, timeout=60)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(self, circuit: str, body: Mapping[str, Any]) -> str:
        """Queue a task and return its id.

        Raises:
            click.ClickException: the coordinator refuses it; with its message.
        """
        answer = await self._ask("POST", f"/api/v1/tasks/{circuit}", json=body)
        return str(_checked(answer)["task_id"])

    async def result(self, task_id: str) -> dict[str, Any]:
        """Wait until a task has ended, and return it as the API shows it."""
        while True:
            answer = await self._ask("GET", f"/api/v1/tasks/{task_id}", params={"wait": "30s"})
            task = _checked(answer)
            if task["status"] in _ENDED:
                return task

    async def verification_key(
        self, circuit: str, curve: str, size: int | None, pool: str
    ) -> dict[str, Any]:
        """The verifying key of a circuit, in snarkjs' JSON."""
        wanted = {"curve": curve, "pool": pool} | ({"size": str(size)} if size else {})
        path = f"/api/v1/circuits/{circuit}/verification-key"
        return _checked(await self._ask("GET", path, params=wanted))

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """An answer that is not "asked too often": then it is asked again when it is time."""
        while True:
            answer = await self._http.request(method, path, **more)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return answer
            await asyncio.sleep(int(answer.headers["Retry-After"]))


def _checked(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    if answer.is_error:
        raise click.ClickException(body.get("error", {}).get("message", answer.text))
    return body
