"""The whole of who may do what, walked through at random beside a model of it."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.factories.world import World
from tests.machine.cast import Cast
from tests.machine.machine import machine_of, walk

# PARLEY_TEST_EXAMPLES=500 walks further, and elsewhere each time.
EXAMPLES = int(os.environ.get("PARLEY_TEST_EXAMPLES", "0"))
WALKS = settings(
    max_examples=EXAMPLES or 12,
    stateful_step_count=50 if EXAMPLES else 20,
    derandomize=not EXAMPLES,
    phases=[Phase.generate, *([Phase.shrink] if EXAMPLES else [])],
    report_multiple_bugs=False,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(120 + 10 * EXAMPLES)
def test_whatever_people_do_in_whatever_order_the_product_is_as_the_model_says(world: World) -> None:
    run_state_machine_as_test(machine_of(Cast(world)), settings=WALKS)


@pytest.mark.parametrize("seed", range(EXAMPLES or 12))
def test_so_it_is_on_walks_that_are_the_same_each_time(world: World, seed: int) -> None:
    walk(Cast(world), seed, 20)
