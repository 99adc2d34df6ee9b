"""The web application: the full list of its doors."""

from types import SimpleNamespace

from flask import Flask
from flask_cors import CORS
from flask_migrate import Migrate
from werkzeug.middleware.proxy_fix import ProxyFix

import web.chat.socket
import web.cli.archive
import web.cli.queues
import web.jobs.socket
import web.meetings.socket
import web.participants.batch_routes
import web.participants.socket
import web.participants.waiting_socket
import web.policies.socket
import web.signals.socket  # noqa: F401  registers frame types
from shared.runtime import Runtime
from web.audit.routes import blueprint as audit
from web.chat.routes import blueprint as chat
from web.cli import commands
from web.http import admission, errors, health, limits, metrics, openapi, refusals, requests, tokens
from web.http.runtime import attach
from web.identity.key_routes import blueprint as api_keys
from web.identity.routes import blueprint as identity
from web.jobs.routes import blueprint as jobs
from web.livekit.routes import blueprint as livekit
from web.livekit.webhook_routes import blueprint as livekit_webhook
from web.meetings.routes import blueprint as meetings
from web.participants.moderation_routes import blueprint as moderation
from web.participants.routes import blueprint as participants
from web.policies.card_routes import blueprint as card
from web.policies.routes import blueprint as policies
from web.realtime import asyncapi, gateway
from web.signals.routes import blueprint as signals
from web.webhooks.routes import blueprint as webhooks

BLUEPRINTS = (
    identity,
    api_keys,
    meetings,
    card,
    policies,
    audit,
    participants,
    moderation,
    jobs,
    chat,
    signals,
    livekit,
    livekit_webhook,
    webhooks,
)


def create_app(runtime: Runtime) -> Flask:
    """Return the application of one web process."""
    settings = runtime.settings
    app = Flask("parley", static_folder=None, root_path=__file__.rpartition("/")[0])
    app.config.update(SECRET_KEY=settings.secret_key, DEBUG=False, PROPAGATE_EXCEPTIONS=False)
    app.url_map.strict_slashes = True
    attach(app, runtime)
    refused = refusals.attach(app, runtime)
    requests.install(app, settings)
    admission.install(app, settings)
    errors.install(app)
    tokens.install(app, settings)
    limits.install(app, settings)
    api = openapi.install(app)
    for blueprint in BLUEPRINTS:
        api.register_blueprint(blueprint)
    health.install(app, runtime)
    metrics.install(app, runtime)
    app.register_blueprint(asyncapi.blueprint)
    gateway.install(app, runtime, refused)
    app.cli.add_command(commands.parley)
    Migrate(app, SimpleNamespace(engine=runtime.database.engine, metadata=runtime.database.metadata))
    CORS(
        app,
        origins=settings.allowed_origins,
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"],
        expose_headers=[
            "Idempotency-Replayed",
            "Retry-After",
            "X-Request-ID",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
        ],
        max_age=600,
    ) if settings.allowed_origins else None
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    return app
