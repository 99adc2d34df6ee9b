"""Django Channels with the Pub/Sub layer of channels_redis, on uvicorn with uvloop and httptools."""

import os
import secrets
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=secrets.token_urlsafe(32),
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["channels"],
    ROOT_URLCONF=__name__,
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402  Django must be set up first
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

urlpatterns: list[Any] = []


class Room(AsyncWebsocketConsumer):
    """One socket in the group of its room."""

    async def connect(self) -> None:
        """Enter the group."""
        self.group = f"room{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Tell the group."""
        await self.channel_layer.group_send(self.group, {"type": "said", "text": text_data})

    async def said(self, event: dict[str, str]) -> None:
        """Pass on what somebody said."""
        await self.send(text_data=event["text"])


application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("ws/<str:room>", Room.as_asgi())]),
    }
)
