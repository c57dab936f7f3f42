"""Watching custom objects and their children, with kopf.

kopf tells of edges, and what it tells is only taken as a hint that an object is dirty. It runs in
a thread with an event loop of its own, because on its way out it cancels whatever task it did not
expect, and because it takes over the process's signals otherwise.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import kopf

from muster_operator import naming
from muster_operator.resources import CUSTOM, WATCHED, Manifest, Resource

log = logging.getLogger(__name__)

Deliver = Callable[[Resource, str | None, Manifest], None]
"""Takes a resource, the kind of event (None in the first list) and the object."""

_IDENTITY = "muster-operator"
_SERVER_SECONDS = 300
_CLIENT_SECONDS = 330
_REQUEST_SECONDS = 30
_BACKOFF_SECONDS = (1.0, 2.0, 2.0)
_RESTART_SECONDS = 2.0
_STUCK_SECONDS = 120.0
_STOP_SECONDS = 5.0
_END_SECONDS = 10.0
_AGAIN_SECONDS = 2.0


class Watcher:
    """Delivers what happens to our objects to the event loop that it is made in.

    Args:
        deliver: called in that loop.
    """

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._end: Callable[[], object] = lambda: None
        self._ready = threading.Event()
        self._down_since: float | None = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    @property
    def watching(self) -> bool:
        """Whether the watches run."""
        return self._ready.is_set() and self._thread.is_alive()

    @property
    def stuck(self) -> bool:
        """Whether the watches have not run for so long that a new process should try."""
        if self.watching:
            self._down_since = None
        elif self._down_since is None:
            self._down_since = time.monotonic()
        return self._down_since is not None and (
            time.monotonic() - self._down_since > _STUCK_SECONDS
        )

    def start(self) -> None:
        """Begin to watch; the kinds must be known to the API server."""
        self._thread.start()

    async def stop(self) -> None:
        """End the watches."""
        self._stop.set()
        # Its loop may have ended by itself.
        with contextlib.suppress(RuntimeError):
            self._end()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _STOP_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._watch())
            except Exception:
                log.exception("the watches broke down")
            # What happens meanwhile is seen in the first list, or missed until the next resync.
            self._stop.wait(_RESTART_SECONDS)

    async def _watch(self) -> None:
        # For an event of threads kopf has a thread wait, and no loop ends before its threads.
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        self._end = lambda: loop.call_soon_threadsafe(end.set)
        if self._stop.is_set():
            return
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=_settings(),
            clusterwide=True,
            standalone=True,
            # Otherwise kopf asks for the user's name, and in a container there is none.
            identity=_IDENTITY,  # type: ignore[arg-type]
            stop_flag=end,
            ready_flag=self._ready,
        )
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self._ready.clear()
        await _cancelled(asyncio.all_tasks() - {asyncio.current_task()})
        for task in ended:
            task.result()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_login)
        for resource in (*CUSTOM, *WATCHED):
            version = resource.api_version.rpartition("/")[2]
            kopf.on.event(
                resource.group, version, resource.plural, registry=registry, id="mark-dirty"
            )(self._handler(resource))
        return registry

    def _handler(self, resource: Resource) -> Callable[..., Any]:
        async def mark_dirty(event: dict[str, Any], **_: object) -> None:
            body = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                **event["object"],
            }
            self._loop.call_soon_threadsafe(self._deliver, resource, event["type"], body)

        return mark_dirty


async def _cancelled(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended, for some seconds.

    kopf cancels each once and waits for ever; some of its watches go on after that, and wait for
    credentials that nobody brings any more.
    """
    deadline = time.monotonic() + _END_SECONDS
    while tasks and time.monotonic() < deadline:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)


def _login(**context: Any) -> kopf.ConnectionInfo | None:
    """The same credentials that the client uses."""
    if "KUBECONFIG" in os.environ:
        return kopf.login_with_kubeconfig(**context)
    return kopf.login_with_service_account(**context)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = _REQUEST_SECONDS
    # Short, so that watches are back soon after the API server is; each begins anew for ever.
    settings.networking.error_backoffs = _BACKOFF_SECONDS
    settings.watching.server_timeout = _SERVER_SECONDS
    settings.watching.client_timeout = _CLIENT_SECONDS
    for resource in WATCHED:
        key = (resource.group, resource.plural)
        settings.watching.label_selectors[key] = naming.MANAGED_SELECTOR
    return settings


def quiet_kopf() -> None:
    """Keep kopf's account of each event out of the log; its warnings stay."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # It warns that signals don't reach it, which is why it has a thread of its own.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
