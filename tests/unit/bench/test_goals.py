"""The goals of the benchmark: what counts as reached."""

import pytest

from bench.goals import COST, FAN, FLOOR, GOALS, PARLEY, SOCKETIO, STEADY, Goal, cheaper, lost, own, races

pytestmark = pytest.mark.once


def test_being_twice_as_cheap_reaches_a_goal_of_two() -> None:
    goal = cheaper("G1", "fan-out", FAN, SOCKETIO, 2.0)

    assert goal.is_met({FAN.name: {SOCKETIO: [{COST: 10.0}], PARLEY: [{COST: 5.0}]}}) is True
    assert goal.is_met({FAN.name: {SOCKETIO: [{COST: 10.0}], PARLEY: [{COST: 5.1}]}}) is False


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert cheaper("G1", "fan-out", FAN, SOCKETIO, 2.0).is_met({FAN.name: {PARLEY: [{COST: 5.0}]}}) is None
    assert cheaper("G1", "fan-out", FAN, SOCKETIO, 2.0).is_met({FAN.name: {SOCKETIO: [None], PARLEY: [None]}}) is None


def test_one_lost_delivery_in_one_round_misses_the_goal() -> None:
    results = {STEADY.name: {PARLEY: [{"missing": 0.0}, {"missing": 1.0}, {"missing": 0.0}]}}

    assert lost("G4", "rooms", STEADY).is_met(results) is False


def test_a_line_without_a_limit_only_informs() -> None:
    line = own("G4", "floor", STEADY.name, "latency_p99_ms", " ms", None, of=FLOOR)

    assert line.figure({STEADY.name: {FLOOR: [{"latency_p99_ms": 3.0}]}}) == 3.0
    assert line.is_met({STEADY.name: {FLOOR: [{"latency_p99_ms": 3.0}]}}) is None


def test_a_full_run_measures_every_goal() -> None:
    run = {goal for race in races(quick=False) for goal in race.goals}

    assert run == {goal.id for goal in GOALS}
    assert run == {"G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G11"}


def test_a_quick_run_measures_the_same_workloads_for_less_long() -> None:
    full = {workload.name: workload for race in races(quick=False) for workload, _ in race.runs}

    for race in races(quick=True):
        for workload, _ in race.runs:
            assert workload.seconds < full[workload.name].seconds
            assert workload.sockets <= full[workload.name].sockets


def test_at_least_and_at_most_are_told_apart() -> None:
    assert Goal("G", "rate", lambda _: 150.0, "/s", 150.0, at_most=False).is_met({}) is True
    assert Goal("G", "wait", lambda _: 150.0, " ms", 100.0).is_met({}) is False
