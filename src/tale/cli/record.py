"""Reading JSON that another process wrote, with the type each field should have.

The command line doesn't import `wire.contracts`: building its pydantic models takes 0.35 s, more
than everything else `tale tasks` does. A `Record` gives what a field holds where it has the right
type and an empty value where it hasn't, so a server that knows more or fewer fields does no harm.
Nothing here talks to anybody; above are `views` and the commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias, cast

__all__ = ["JsonObject", "JsonValue", "Record"]

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = "dict[str, JsonValue]"


class Record:
    """One JSON object.

    Attributes:
        raw: The object itself, for `--json`.
    """

    __slots__ = ("raw",)

    def __init__(self, value: object = None) -> None:
        """Wrap a decoded value; anything but an object is an empty one."""
        self.raw: JsonObject = cast("JsonObject", value) if isinstance(value, dict) else {}

    @classmethod
    def parse(cls, text: str | bytes) -> Record:
        """Decode an object; raises `ValueError` where the text is not JSON."""
        return cls(json.loads(text))

    def __bool__(self) -> bool:
        return bool(self.raw)

    def __contains__(self, key: str) -> bool:
        return self.raw.get(key) is not None

    def text(self, key: str, default: str = "") -> str:
        """Give a string; `default` where there is none."""
        value = self.raw.get(key)
        return value if isinstance(value, str) else default

    def number(self, key: str) -> float | None:
        """Give a number; None where there is none."""
        value = self.raw.get(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def integer(self, key: str, default: int = 0) -> int:
        """Give a whole number; `default` where there is none."""
        value = self.number(key)
        return default if value is None else int(value)

    def flag(self, key: str) -> bool:
        """Give a boolean; False where there is none."""
        return self.raw.get(key) is True

    def truth(self, key: str) -> bool | None:
        """Give a boolean; None where there is none."""
        value = self.raw.get(key)
        return value if isinstance(value, bool) else None

    def record(self, key: str) -> Record:
        """Give an object; an empty one where there is none."""
        return Record(self.raw.get(key))

    def records(self, key: str) -> tuple[Record, ...]:
        """Give the objects of a list."""
        return tuple(Record(item) for item in self._items(key) if isinstance(item, dict))

    def texts(self, key: str) -> tuple[str, ...]:
        """Give the strings of a list."""
        return tuple(item for item in self._items(key) if isinstance(item, str))

    def numbers(self) -> dict[str, float]:
        """Give the fields that are numbers."""
        return {key: value for key in self.raw if (value := self.number(key)) is not None}

    def entries(self) -> Iterator[tuple[str, Record]]:
        """Go through the fields that are objects themselves."""
        for key, value in self.raw.items():
            if isinstance(value, Mapping):
                yield key, Record(value)

    def _items(self, key: str) -> list[JsonValue]:
        value = self.raw.get(key)
        return value if isinstance(value, list) else []
