"""The endpoints under `/v1/workload-configs`."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Request, Response

from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.ports import ConfigStore
from muster_coordinator.http_face import bodies
from muster_coordinator.workload_face import views
from muster_coordinator.workload_face.desk import Desk
from muster_coordinator.workload_face.requests import CONFIG_ID, NewConfiguration, Pages
from muster_coordinator.workload_face.rest import customer

ConfigPath = Annotated[UUID, Path(description=CONFIG_ID)]


class ConfigApi:
    """Configurations of the customer that asks; those of others are not there."""

    def __init__(self, configs: ConfigStore, desk: Desk) -> None:
        self._configs = configs
        self._desk = desk

    async def create(self, request: Request, response: Response) -> views.Configuration:
        """Store a configuration."""
        asked = await bodies.free_body(request, NewConfiguration)
        config = self._desk.made(asked, new_id(), customer(request))
        stored = await self._configs.add(config)
        response.headers["Location"] = f"/v1/workload-configs/{stored.id}"
        return views.configuration(stored)

    async def find(
        self, request: Request, pages: Annotated[Pages, Query()]
    ) -> views.ConfigurationPage:
        """Configurations, newest first."""
        found = await self._configs.find(
            # One more, to know whether this is the last page.
            customer(request).id,
            pages.limit + 1,
            pages.offset,
        )
        more = len(found) > pages.limit
        return views.ConfigurationPage(
            configs=[views.configuration(one) for one in found[: pages.limit]],
            next_offset=pages.offset + pages.limit if more else None,
        )

    async def get(self, request: Request, config_id: ConfigPath) -> views.Configuration:
        """One configuration."""
        return views.configuration(await self._desk.configuration(config_id, customer(request)))

    async def update(self, request: Request, config_id: ConfigPath) -> views.Configuration:
        """Replace a configuration as a whole; workloads that were made from it stay as they are."""
        asked = await bodies.free_body(request, NewConfiguration)
        config = self._desk.made(asked, config_id, customer(request))
        return views.configuration(await self._configs.update(config))

    async def delete(self, request: Request, config_id: ConfigPath) -> None:
        """Delete a configuration, unless a workload that was made from it has not ended."""
        await self._configs.delete(config_id, customer(request).id)
