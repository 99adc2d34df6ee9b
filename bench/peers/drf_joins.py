"""POST join as one would write it with Django REST framework: the same answer, without ledger, audit and stays.

Credential, account, meeting with its policy (locked while seats are counted), the own place, capacity, the new place,
and a message to whoever listens. `python -m bench.peers.drf_joins MEETINGS PEOPLE FILE` makes tables and people, and
writes what `bench.rest_load` posts.
"""

import json
import os
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="s" * 48,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
            "USER": os.environ["PGUSER"],
            "NAME": os.environ["PGDATABASE"],
            "CONN_MAX_AGE": 600,
        }
    },
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    },
)
django.setup()

import redis  # noqa: E402  Django must be set up first
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.exceptions import NotFound, PermissionDenied  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.tokens import AccessToken  # noqa: E402

client = redis.Redis.from_url(os.environ["REDIS_URL"])


class Policy(models.Model):
    """The rules of a meeting."""

    lock_meeting = models.BooleanField(default=False)
    require_waiting_room = models.BooleanField(default=False)
    mute_on_entry = models.BooleanField(default=False)
    disable_camera = models.BooleanField(default=False)
    max_participants = models.IntegerField(default=10_000)
    allowed_domains = models.JSONField(default=list)
    blocked_users = models.JSONField(default=list)

    class Meta:
        """This module is the application."""

        app_label = "joins"


class Meeting(models.Model):
    """A meeting."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    title = models.CharField(max_length=200)
    status = models.CharField(max_length=12)
    policy = models.OneToOneField(Policy, on_delete=models.CASCADE)

    class Meta:
        """This module is the application."""

        app_label = "joins"


class Participant(models.Model):
    """Somebody's place in a meeting."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    meeting = models.ForeignKey(Meeting, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    user_name = models.CharField(max_length=100)
    role = models.CharField(max_length=8)
    status = models.CharField(max_length=8)
    is_banned = models.BooleanField(default=False)
    is_muted = models.BooleanField(default=False)
    is_video_enabled = models.BooleanField(default=True)
    device_type = models.CharField(max_length=40, null=True)
    joined_at = models.DateTimeField()

    class Meta:
        """This module is the application."""

        app_label = "joins"
        constraints = (models.UniqueConstraint(fields=["meeting", "user"], name="one_place"),)
        indexes = (models.Index(fields=["meeting", "status"], name="by_status"),)


class Wish(serializers.Serializer):
    """How somebody wants to enter."""

    device_type = serializers.CharField(max_length=40, required=False, default=None)
    join_muted = serializers.BooleanField(required=False, default=False)
    join_without_video = serializers.BooleanField(required=False, default=False)


class Seat(serializers.ModelSerializer):
    """What somebody gets."""

    class Meta:
        """The fields of the product's answer."""

        model = Participant
        fields = (
            *("id", "meeting_id", "user_id", "user_name", "role", "status", "is_muted", "is_video_enabled"),
            "joined_at",
        )


class Join(APIView):
    """The door."""

    def post(self, request: Request, meeting_id: uuid.UUID) -> Response:
        """Give somebody a seat."""
        wish = Wish(data=request.data)
        wish.is_valid(raise_exception=True)
        with transaction.atomic():
            try:
                meeting = Meeting.objects.select_related("policy").select_for_update(of=("self",)).get(pk=meeting_id)
            except Meeting.DoesNotExist:
                raise NotFound from None
            place = Participant.objects.filter(meeting=meeting, user=request.user).first()
            if place is None:
                self._check(meeting, request.user)
                place = self._enter(meeting, request.user, wish.validated_data)
        return Response({"success": True, "data": Seat(place).data})

    def _check(self, meeting: Meeting, user: User) -> None:
        policy = meeting.policy
        domain = user.email.rpartition("@")[2]
        if meeting.status != "in_progress" or policy.lock_meeting or str(user.pk) in policy.blocked_users:
            raise PermissionDenied
        if policy.allowed_domains and domain not in policy.allowed_domains:
            raise PermissionDenied
        if Participant.objects.filter(meeting=meeting, status="joined").count() >= policy.max_participants:
            raise PermissionDenied

    def _enter(self, meeting: Meeting, user: User, wish: dict[str, object]) -> Participant:
        place = Participant.objects.create(
            meeting=meeting,
            user=user,
            user_name=user.first_name,
            role="attendee",
            status="joined",
            is_muted=wish["join_muted"] or meeting.policy.mute_on_entry,
            is_video_enabled=not wish["join_without_video"] and not meeting.policy.disable_camera,
            device_type=wish["device_type"],
            joined_at=timezone.now(),
        )
        message = json.dumps({"type": "participant_joined", "data": Seat(place).data}, default=str)
        transaction.on_commit(lambda: client.publish(f"meeting:{meeting.pk}", message))
        return place


def healthy(_: HttpRequest) -> HttpResponse:
    """Say that it serves."""
    return HttpResponse("ok")


urlpatterns = [path("healthz", healthy), path("meetings/<uuid:meeting_id>/join", Join.as_view())]
application = get_wsgi_application()


def prepare(meetings: int, people: int, file: Path) -> None:
    """Make tables where there are none, new meetings and people, and write who is to join what."""
    if Meeting._meta.db_table not in connection.introspection.table_names():
        call_command("migrate", verbosity=0)
        with connection.schema_editor() as editor:
            for model in (Policy, Meeting, Participant):
                editor.create_model(model)
    rules = Policy.objects.bulk_create(Policy() for _ in range(meetings))
    made = Meeting.objects.bulk_create(Meeting(title="A meeting", status="in_progress", policy=each) for each in rules)
    users = User.objects.bulk_create(_person(uuid.uuid4().hex[:20]) for _ in range(people))
    tokens = []
    for user in users:
        token = AccessToken.for_user(user)
        token.set_exp(lifetime=timedelta(hours=6))
        tokens.append(str(token))
    wanted = [{"path": f"/meetings/{meeting.pk}/join", "token": token} for token in tokens for meeting in made]
    file.write_text(json.dumps(wanted))


def _person(name: str) -> User:
    return User(username=name, first_name=f"Person {name[:4]}", email=f"{name}@example.com")


if __name__ == "__main__":
    prepare(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
