"""The OpenAPI document and its page, made from the doors and served from here: no other host is asked."""

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Flask, Response, redirect, send_from_directory
from flask_smorest import Api
from werkzeug.wrappers import Response as WerkzeugResponse

import web
from shared.core.errors import CATALOGUE

_ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
_UI = "/_assets/swagger-ui/"

assets = Blueprint("assets", __name__)

DESCRIPTION = """The control plane of video meetings: who may be where, what is said, what happened.

Every answer is one envelope. What happens in a meeting is told over the WebSocket `/ws/meetings/{id}`, described in
[the AsyncAPI document](/api/v1/asyncapi.json).

<details><summary>A failure carries a <code>code</code>, which never changes its meaning: the list</summary>

| Code | Status | Meaning |
| --- | --- | --- |
"""

_KEYS = (
    "An API key, `pk_…`, sent as Bearer: it acts as its owner, where an operation names the scopes that it needs "
    "(`x-required-scope`), and nowhere else. Without them the answer is 403 `INSUFFICIENT_SCOPE`."
)


@assets.get(f"{_UI}<path:name>")
def swagger_ui_file(name: str) -> Response:
    """Return a file of Swagger UI, from the installed package."""
    return send_from_directory(_ASSETS, name)


@assets.get("/")
def front_page() -> WerkzeugResponse:
    """Lead a browser to the documentation."""
    return redirect("/api/v1/docs")


def install(app: Flask) -> Api:
    """Configure flask-smorest and return its Api, for the doors to register with."""
    app.config.update(
        API_TITLE="Parley",
        API_VERSION=web.__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api/v1",
        OPENAPI_JSON_PATH="openapi.json",
        OPENAPI_SWAGGER_UI_PATH="/docs",
        OPENAPI_SWAGGER_UI_URL=_UI,
        OPENAPI_SWAGGER_UI_CONFIG={"validatorUrl": None, "persistAuthorization": True, "docExpansion": "list"},
        API_SPEC_OPTIONS={
            "info": {"description": _description(), "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
            "security": [{"bearer": []}],
            "servers": [{"url": "/"}],
        },
    )
    api = _Api(app)
    api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    # Not for clients: LiveKit's own JWT, without "Bearer", whose claim `sha256` is the hash of the body.
    api.spec.components.security_scheme("livekit", {"type": "apiKey", "in": "header", "name": "Authorization"})
    api.spec.components.security_scheme("api_key", {"type": "http", "scheme": "bearer", "description": _KEYS})
    app.register_blueprint(assets)
    return api


def _description() -> str:
    rows = [f"| `{code}` | {error.status} | {error.message} |" for code, error in sorted(CATALOGUE.items())]
    return DESCRIPTION + "\n".join(rows) + "\n\n</details>"


class _Api(Api):
    """flask-smorest without its error handler: web.http.errors answers, in our envelope and with its headers."""

    DEFAULT_ERROR_RESPONSE_NAME = None  # it has another shape than ours, and would allow every status

    def _register_error_handlers(self) -> None:
        """Register nothing."""
