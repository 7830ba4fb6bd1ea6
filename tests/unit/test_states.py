"""What holds for the states of every record kind, whatever stands in its table."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import pytest

from functions.kit.states import Machine
from tests.unit.generated_pages import MACHINES

EACH = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.kind)


def members(kind: type[StrEnum]) -> list[StrEnum]:
    """In the order in which they are written."""
    return list(kind)


def states_of(machine: Machine[Any, Any]) -> list[StrEnum]:
    """The states in their order."""
    return members(type(machine.start))


def causes_of(machine: Machine[Any, Any]) -> list[StrEnum]:
    """Every cause that there is."""
    return members(type(next(cause for _, cause in machine.table)))


def reachable(machine: Machine[Any, Any]) -> set[StrEnum]:
    """The states that a new record can get to."""
    found, before = {machine.start}, set[StrEnum]()
    while found != before:
        before, found = found, found | {after for (state, _), after in machine.table.items() if state in found}
    return found


def backward(machine: Machine[Any, Any]) -> Iterable[StrEnum]:
    """The causes that lead to an earlier state."""
    order = states_of(machine)
    return {cause for (state, cause), after in machine.table.items() if order.index(after) < order.index(state)}


@EACH
def test_every_state_can_be_reached(machine: Machine[Any, Any]) -> None:
    """A state that no record can be in is a leftover or a forgotten edge."""
    assert reachable(machine) == set(states_of(machine))


@EACH
def test_an_end_is_an_end(machine: Machine[Any, Any]) -> None:
    """Nothing leads out of a final state, whatever arrives; something leads out of every other."""
    stuck = {state for state in states_of(machine) if all(machine.after(state, c) is None for c in causes_of(machine))}
    assert stuck == machine.ends


@EACH
def test_an_end_can_be_reached_from_everywhere(machine: Machine[Any, Any]) -> None:
    """No record is caught in a circle."""
    leading: set[StrEnum] = set(machine.ends)
    for _ in states_of(machine):
        leading |= {state for (state, _), after in machine.table.items() if after in leading}
    assert leading == set(states_of(machine))


@EACH
def test_only_deliberate_causes_lead_back(machine: Machine[Any, Any]) -> None:
    """An edge to an earlier state is named, with its reason; and nothing is named that does not lead back."""
    assert backward(machine) == set(machine.back)
    assert all(machine.back.values())


@EACH
def test_every_cause_can_happen_somewhere(machine: Machine[Any, Any]) -> None:
    """A cause that no state takes is a leftover."""
    assert {cause for _, cause in machine.table} == set(causes_of(machine))


@EACH
def test_the_diagram_has_every_cause_of_every_arrow(machine: Machine[Any, Any]) -> None:
    """The documentation's picture is made from the table."""
    lines = machine.mermaid().splitlines()
    for (state, cause), after in machine.table.items():
        (line,) = [line for line in lines if line.startswith(f"    {state} --> {after}: ")]
        assert cause in line.partition(": ")[2].split(", ")


class Light(StrEnum):
    """A lamp's states."""

    OFF = "off"
    ON = "on"
    BURNT = "burnt"


class Push(StrEnum):
    """What happens to a lamp."""

    PRESSED = "pressed"
    RELEASED = "released"
    OVERLOADED = "overloaded"


LAMP = Machine(
    kind="lamp",
    title="A lamp",
    start=Light.OFF,
    ends=frozenset({Light.BURNT}),
    back={Push.RELEASED: "a lamp may be switched off"},
    table={
        (Light.OFF, Push.PRESSED): Light.ON,
        (Light.ON, Push.RELEASED): Light.OFF,
        (Light.ON, Push.OVERLOADED): Light.BURNT,
    },
)


def test_what_is_absent_cannot_happen() -> None:
    """A cause either leads to a state or to none."""
    assert (LAMP.after(Light.OFF, Push.PRESSED), LAMP.after(Light.OFF, Push.OVERLOADED)) == (Light.ON, None)


@pytest.mark.parametrize(
    ("state", "cause", "late"),
    [
        (Light.ON, Push.PRESSED, True),
        (Light.BURNT, Push.RELEASED, True),
        (Light.OFF, Push.OVERLOADED, False),
    ],
)
def test_late_is_told_from_illegal(state: Light, cause: Push, late: bool) -> None:  # noqa: FBT001  # a table of cases
    """Late: it has happened already, or the record has ended. Illegal: it cannot happen here."""
    assert LAMP.is_late(state, cause) is late


def test_a_cause_without_a_single_target_has_none() -> None:
    """A statement that sets a state by the cause alone fails at once where the table does not say which."""
    forked = Machine(
        kind=LAMP.kind,
        title=LAMP.title,
        start=LAMP.start,
        ends=LAMP.ends,
        back=LAMP.back,
        table={**LAMP.table, (Light.OFF, Push.OVERLOADED): Light.ON},
    )
    with pytest.raises(KeyError):
        forked.target(Push.OVERLOADED)
