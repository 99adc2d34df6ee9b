"""What the doors of jobs give."""

from marshmallow import fields

from shared.jobs.models import STATUSES
from web.http.schema import Choice, Id, Schema, Time


class ProgressView(Schema):
    """How much is done, of how much."""

    done = fields.Integer(required=True)
    total = fields.Integer(required=True)


class JobErrorView(Schema):
    """What ended a job that failed."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class JobView(Schema):
    """A job as it stands. `result` comes with `succeeded`: how many were `updated`, were so already (`unchanged`), and
    who was `refused` with which code."""

    job_id = Id(required=True)
    kind = fields.String(required=True)
    status = Choice(*STATUSES, required=True)
    progress = fields.Nested(ProgressView, required=True)
    result = fields.Dict(required=True, allow_none=True)
    error = fields.Nested(JobErrorView, required=True, allow_none=True)
    created_at = Time(required=True)
    finished_at = Time(required=True, allow_none=True)
