"""Names of streams."""

import pytest

from shared.core.ids import new_id
from shared.core.streams import hosts_stream, meeting_stream, personal_stream, wire_name

pytestmark = pytest.mark.once


def test_a_client_hears_a_name_that_is_relative_to_itself():
    id_ = new_id()
    assert [wire_name(make(id_)) for make in (meeting_stream, hosts_stream, personal_stream)] == [
        "meeting",
        "hosts",
        "me",
    ]


def test_streams_of_one_id_have_different_keys_that_fit_their_column():
    id_ = new_id()
    keys = {meeting_stream(id_), hosts_stream(id_), personal_stream(id_)}
    assert len(keys) == 3
    assert max(map(len, keys)) <= 64
