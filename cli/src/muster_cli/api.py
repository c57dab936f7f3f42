"""The proof API of a coordinator, as a client sees it."""

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
        answer = await self._http.post(f"/api/v1/tasks/{circuit}", json=body)
        return str(_checked(answer)["task_id"])

    async def result(self, task_id: str) -> dict[str, Any]:
        """Wait until a task has ended, and return it as the API shows it."""
        while True:
            answer = await self._http.get(f"/api/v1/tasks/{task_id}", params={"wait": "30s"})
            task = _checked(answer)
            if task["status"] in _ENDED:
                return task

    async def verification_key(
        self, circuit: str, curve: str, size: int | None, pool: str
    ) -> dict[str, Any]:
        """The verifying key of a circuit, in snarkjs' JSON."""
        wanted = {"curve": curve, "pool": pool} | ({"size": str(size)} if size else {})
        answer = await self._http.get(f"/api/v1/circuits/{circuit}/verification-key", params=wanted)
        return _checked(answer)


def _checked(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    if answer.is_error:
        raise click.ClickException(body.get("error", {}).get("message", answer.text))
    return body
