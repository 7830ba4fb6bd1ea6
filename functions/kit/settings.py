"""Settings of a function: one frozen dataclass, read once from a mapping; start-up fails naming the variable.

Layers, later wins: the default in code, the TOML file named by `TORPOR_CONFIG`, the environment.
Every `main.py` calls `load(Settings, os.environ)`; nothing else reads the environment.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NewType, TypeVar, get_type_hints

T = TypeVar("T")
_MISSING: Final = dataclasses.MISSING
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


class SettingsError(Exception):
    """A setting is missing or cannot be read; the message starts with its name."""


class Secret:
    """A string that does not show itself in a repr, a log line or a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that sends it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')" if self._value else "Secret('')"


# Keys of one purpose: the first makes signatures, all of them verify, so that a new one can follow an old one.
Keys = NewType("Keys", tuple[Secret, ...])
# 256 bits as base64 or hexadecimal are longer; what is shorter was thought up.
_KEY_MIN_CHARS: Final = 32


def setting(default: Any = _MISSING, *, env: str, why: str, unit: str = "") -> Any:
    """Declare one setting. Without a default the variable must be set.

    env: the variable, also the key in the TOML file. why: what it decides and why the default is what it is.
    unit: `s`, `bytes`, ... The documentation's tables are made from these fields.
    """
    return dataclasses.field(default=default, metadata={"env": env, "why": why, "unit": unit})


def load(cls: type[T], environ: Mapping[str, str]) -> T:
    """Read `cls` from its defaults, the file named by TORPOR_CONFIG and `environ`.

    Raises SettingsError for a variable that is missing or has the wrong form.
    """
    layers = {**_from_file(environ.get("TORPOR_CONFIG", "")), **environ}
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # every settings class is a dataclass
        name = field.metadata["env"]
        if name in layers:
            values[field.name] = _convert(name, str(layers[name]), hints[field.name])
        elif field.default is _MISSING:
            raise SettingsError(f"{name}: is not set; {field.metadata['why']}")
    return cls(**values)


def _from_file(path: str) -> dict[str, str]:
    if not path:
        return {}
    try:
        parsed = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"TORPOR_CONFIG: cannot read {path}: {error}") from error
    return {name: _as_text(value) for name, value in parsed.items()}


def _as_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _convert(name: str, text: str, kind: object) -> object:
    try:
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return _one_of(kind, text)
        return _PARSERS[kind](text)
    except KeyError:
        raise SettingsError(f"{name}: settings of type {kind} are not supported") from None
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _one_of(kind: type[StrEnum], text: str) -> StrEnum:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is none of {', '.join(kind)}") from None


def _parse_bool(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parse_keys(text: str) -> Keys:
    keys = _parse_list(text)
    if not keys or min(map(len, keys)) < _KEY_MIN_CHARS:
        raise ValueError(f"every key has at least {_KEY_MIN_CHARS} characters; `openssl rand -base64 32` makes one")
    return Keys(tuple(map(Secret, keys)))


_PARSERS: Final[Mapping[object, Any]] = {
    str: str,
    int: int,
    float: float,
    bool: _parse_bool,
    Secret: Secret,
    Keys: _parse_keys,
    Path: Path,
    tuple[str, ...]: _parse_list,
}
