"""`flask parley queues`: how the work of the workers stands, and once more for what was given up."""

import click
from flask.cli import with_appcontext

from shared.core import dead_letters
from shared.core.dead_letters import DeadLetter, Standing
from shared.core.errors import ServiceUnavailable
from web.cli.commands import parley
from web.http.runtime import current_runtime

UNAVAILABLE = "The database does not answer."


@parley.group("queues", invoke_without_command=True)
@click.option(
    "--dead", "shown", type=click.IntRange(min=0), default=20, show_default=True, help="How many dead letters to show."
)
@click.pass_context
@with_appcontext
def queues(context: click.Context, shown: int) -> None:
    """Show what waits and runs in each lane, for how long, and what was given up."""
    if context.invoked_subcommand is not None:
        return
    try:
        with current_runtime().reading() as tx:
            lanes = dead_letters.standings(tx.connection, tx.now)
            dead = dead_letters.dead_letters(tx.connection, shown)
    except ServiceUnavailable:
        raise click.ClickException(UNAVAILABLE) from None
    click.echo(f"{'lane':<12} {'pending':>8} {'running':>8} {'oldest':>10} {'dead':>6}")
    for one in lanes:
        click.echo(_lane(one))
    for letter in dead:
        click.echo(_letter(letter))


def _lane(one: Standing) -> str:
    return f"{one.lane:<12} {one.pending:>8} {one.running:>8} {f'{one.oldest_seconds:.0f} s':>10} {one.dead:>6}"


def _letter(letter: DeadLetter) -> str:
    why = (letter.error.splitlines() or ["no reason known"])[0]
    return f"{letter.id}  {letter.lane}  {letter.name}  {letter.died_at:%Y-%m-%dT%H:%M:%SZ}  {why}"


@queues.command("requeue")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all-dead", is_flag=True, help="Every dead letter.")
def requeue(ids: tuple[str, ...], all_dead: bool) -> None:
    """Try what was given up once more, with all attempts anew. Exits with 1 when an id is no dead letter's.

    What was settled meanwhile stays so, and its letter only goes: a job that people were told has failed
    (participants.update), and a webhook's turn (webhooks.deliver), which beat gives anew by itself.
    """
    if bool(ids) == all_dead:
        raise click.UsageError("Give ids, or --all-dead.")
    try:
        with current_runtime().transaction() as tx:
            back = dead_letters.requeue(tx.connection, tx.now, ids or None)
    except ServiceUnavailable:
        raise click.ClickException(UNAVAILABLE) from None
    for id_ in back:
        click.echo(f"requeued {id_}")
    click.echo(f"{len(back)} requeued; beat sends them within 5 s")
    missing = sorted(set(ids) - set(back))
    if missing:
        raise click.ClickException(f"No dead letter: {', '.join(missing)}")
