"""Pages to read and try an OpenAPI document with: Swagger UI, all of it served from here."""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

# The files come with this package; the application that it offers besides is not used.
_BUNDLE = Path(str(files("fastapi_offline"))) / "static"

_BUNDLED = ("swagger-ui-bundle.js", "swagger-ui.css")
_START = "start.js"

ASSETS = (*_BUNDLED, _START)
"""What a page loads, from below itself."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{path}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui" data-document="{document}"></div>
<script src="{path}/swagger-ui-bundle.js"></script>
<script src="{path}/start.js"></script>
</body>
</html>
"""

_SCRIPT = """const place = document.getElementById("swagger-ui");
SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  deepLinking: true,
  validatorUrl: null,
  // A key is forgotten with the page.
  persistAuthorization: false,
});
"""

# Swagger UI sets styles by itself and shows images from data.
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'"
)
_CACHED = "public, max-age=86400"


def add(app: FastAPI, path: str, document: str) -> None:
    """Serve a page for `document` at `path`, and what it loads below that."""
    page = _PAGE.format(title=app.title, path=path, document=document)

    async def show(_request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    async def load(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        if name == _START:
            return Response(_SCRIPT, media_type="text/javascript")
        return FileResponse(_BUNDLE / name, headers={"Cache-Control": _CACHED})

    app.add_route(path, show, include_in_schema=False)
    for name in ASSETS:
        app.add_route(f"{path}/{name}", load, include_in_schema=False)
