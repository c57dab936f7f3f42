"""The page to try the API with: all that it loads comes from here."""

import re
from html.parser import HTMLParser

import httpx
import pytest

from .harness import Replica

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class _Loaded(HTMLParser):
    """What a page loads, and which document it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.document = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        wanted = given.get("src") if tag == "script" else given.get("href")
        if wanted and not wanted.startswith("data:"):
            self.paths.append(wanted)
        self.document = given.get("data-document") or self.document


def _loaded(page: httpx.Response) -> _Loaded:
    found = _Loaded()
    found.feed(page.text)
    return found


async def test_the_page_loads_everything_from_here(replica: Replica) -> None:
    page = await replica.http.get("/v1/docs")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"https?://", page.text)
    loaded = _loaded(page)
    assert len(loaded.paths) == 3
    for path in loaded.paths:
        answer = await replica.http.get(path)
        assert answer.status_code == 200
        kind = "text/css" if path.endswith(".css") else "text/javascript"
        assert answer.headers["Content-Type"].startswith(kind)
        assert len(answer.content) > 100
    assert (await replica.http.get(loaded.document)).json()["openapi"].startswith("3.1.")


async def test_nothing_else_of_the_bundle_is_there(replica: Replica) -> None:
    for path in ("/v1/docs/redoc.standalone.js", "/v1/docs/../core.py", "/v1/docs/%2e%2e/core.py"):
        assert (await replica.http.get(path)).status_code in {401, 404}
