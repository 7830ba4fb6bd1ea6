"""What users may say about the engine: the allow-list of a runtime's file, with types and bounds. Pure.

No type exists that lets free text through, so no option, path or second command can be smuggled in.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from functions.serve.problems import BadParameter
from functions.serve.requests import ParameterValue

Scalar = bool | int | float | str


class Parameter(Struct, frozen=True, forbid_unknown_fields=True):
    """One parameter that users may set. flag: the engine's option, absent where only the contract reads it.

    negation: the option for a boolean's `false`; without it `false` is what the engine does anyway.
    """

    type: Literal["integer", "number", "boolean", "choice"]
    flag: str | None = None
    negation: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


Allowed = Mapping[str, Parameter]


def check(runtime: str, allowed: Allowed, params: Mapping[str, ParameterValue]) -> dict[str, Scalar]:
    """The parameters as the engine takes them. runtime: its name. Raises BadParameter naming the first not allowed."""
    return {name: _check(runtime, allowed, name, value) for name, value in sorted(params.items()) if value is not None}


def _check(runtime: str, allowed: Allowed, name: str, value: Scalar) -> Scalar:
    parameter = allowed.get(name)
    if parameter is None:
        listed = ", ".join(sorted(allowed))
        raise BadParameter(f"{name[:63]!r} is not a parameter of {runtime}; allowed are: {listed}")
    if not _fits(parameter, value):
        raise BadParameter(f"{name} is {str(value)[:63]!r}; it has to be {_described(parameter)}")
    return value


def _fits(parameter: Parameter, value: Scalar) -> bool:
    if parameter.type == "choice":
        return isinstance(value, str) and value in parameter.choices
    if parameter.type == "boolean":
        return isinstance(value, bool)
    kinds: tuple[type, ...] = (int,) if parameter.type == "integer" else (int, float)
    if isinstance(value, bool | str) or not isinstance(value, kinds):
        return False
    above = parameter.minimum is None or value >= parameter.minimum
    return above and (parameter.maximum is None or value <= parameter.maximum)


def _described(parameter: Parameter) -> str:
    if parameter.type == "choice":
        return f"one of {', '.join(parameter.choices)}"
    if parameter.type == "boolean":
        return "true or false"
    kind = "an integer" if parameter.type == "integer" else "a number"
    low = f" from {parameter.minimum:g}" if parameter.minimum is not None else ""
    high = f" to {parameter.maximum:g}" if parameter.maximum is not None else ""
    return f"{kind}{low}{high}"


def arguments(allowed: Allowed, params: Mapping[str, Scalar]) -> list[str]:
    """The engine's options for checked parameters, in the order of their names."""
    found: list[str] = []
    for name, value in params.items():
        parameter = allowed[name]
        option = parameter.negation if value is False else parameter.flag
        if option is not None:
            found += [option] if isinstance(value, bool) else [option, str(value)]
    return found
