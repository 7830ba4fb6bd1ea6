"""Every statement that the simulation's database knows, by its text: the real queries, and those of its own small domain."""

from collections.abc import Iterator

from functions.kit import bus
from kn_model.local.eventing import ledger
from tests.simulation import domain_statements, kit_statements, ledger_statements
from tests.simulation.postgres import Statement


def by_text() -> dict[str, Statement]:
    """Text of a statement -> what it does. A name that the real queries no longer have is an error here."""
    return dict(_paired())


def _paired() -> Iterator[tuple[str, Statement]]:
    for name, statement in kit_statements.NAMED.items():
        yield getattr(bus.SQL, name), statement
    for name, statement in ledger_statements.NAMED.items():
        yield ledger._SQL[name], statement
    yield from domain_statements.NAMED.items()
