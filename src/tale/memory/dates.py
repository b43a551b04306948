"""Which days a question means: "last Tuesday", "in May 2023", "two weeks ago".

Pure: from the words and the present time to spans of time, in the zone of that time. A day without
a year is the last such day, since a question to a memory is about what was. Above: `retrieval`.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

__all__ = ["Span", "spans"]

_READ: Final = 1000
"""Characters; further on a text tells rather than asks."""
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
_DAYS: Final[Sequence[str]] = (
    *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
)
_COUNTED: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS: Final = {
    **{word: at for at, word in enumerate(_COUNTED, start=1)},
    "a": 1,
    "an": 1,
    "the other": 2,
    "a couple of": 2,
    "a few": 3,
}
_SEASONS: Final = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9}

_MONTH: Final = (
    r"(?P<month>" + "|".join(f"{name[:3]}(?:{name[3:]})?" for name in _MONTHS) + r"|sept)\.?"
)
_YEAR: Final = r"(?P<year>(?:19|20)\d\d)"
_DAY: Final = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_MANY: Final = r"(?P<many>\d{1,3}|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, up to but without its end."""

    begin: datetime
    end: datetime

    def __contains__(self, at: datetime) -> bool:
        return self.begin <= at < self.end


def spans(question: str, now: datetime) -> tuple[Span, ...]:
    """Give the times that a question names, in its order; what can't be a date is passed over.

    Args:
        question: What is asked.
        now: The present time, in the zone of whoever asks.
    """
    text = question[:_READ]
    found: list[tuple[int, Span]] = []
    taken: list[tuple[int, int]] = []
    for pattern, read in _PATTERNS:
        for match in pattern.finditer(text):
            if any(match.start() < end and begin < match.end() for begin, end in taken):
                continue
            try:
                span = read(match, now)
            except (ValueError, OverflowError):  # 31 June; a thousand years ago
                continue
            taken.append(match.span())
            found.append((match.start(), span))
    return tuple(span for _, span in sorted(found, key=lambda one: one[0]))


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _days(begin: datetime, count: int = 1) -> Span:
    return Span(_midnight(begin), _midnight(begin) + timedelta(days=count))


def _month(year: int, month: int, now: datetime, count: int = 1) -> Span:
    begin = _midnight(now).replace(year=year, month=month, day=1)
    last = month + count - 1
    end = begin.replace(year=year + (last - 1) // 12, month=(last - 1) % 12 + 1)
    return Span(begin, end + timedelta(days=monthrange(end.year, end.month)[1]))


def _months_back(now: datetime, count: int) -> Span:
    at = now.year * 12 + now.month - 1 - count
    return _month(at // 12, at % 12 + 1, now)


def _number(match: re.Match[str]) -> int:
    name = match["month"].lower()[:3]
    return next(at for at, month in enumerate(_MONTHS, start=1) if month.startswith(name))


def _iso(match: re.Match[str], now: datetime) -> Span:
    year, month, day = int(match["year"]), int(match["number"]), int(match["day"])
    return _days(_midnight(now).replace(year=year, month=month, day=day))


def _full(match: re.Match[str], now: datetime) -> Span:
    month, day = _number(match), int(match["day"])
    if match["year"]:
        return _days(_midnight(now).replace(year=int(match["year"]), month=month, day=day))
    for year in range(now.year, now.year - 5, -1):  # 29 February has been within four years
        if day <= monthrange(year, month)[1]:
            begin = _midnight(now).replace(year=year, month=month, day=day)
            if begin <= now:
                return _days(begin)
    raise ValueError(match[0])


def _month_of_year(match: re.Match[str], now: datetime) -> Span:
    return _month(int(match["year"]), _number(match), now)


def _last_month_called(match: re.Match[str], now: datetime) -> Span:
    month = _number(match)
    return _month(now.year if month <= now.month else now.year - 1, month, now)


def _season(match: re.Match[str], now: datetime) -> Span:
    first = _SEASONS[match["season"].lower()]
    year = int(match["year"]) if match["year"] else now.year - (now.month < first)
    return _month(year, first, now, 3)


def _year(match: re.Match[str], now: datetime) -> Span:
    return _month(int(match["year"]), 1, now, 12)


def _near(match: re.Match[str], now: datetime) -> Span:
    back = {"today": 0, "tonight": 0, "this morning": 0, "yesterday": 1, "last night": 1}
    word = " ".join(match["near"].lower().split())
    return _days(now - timedelta(days=back.get(word, 2)))


def _ago(match: re.Match[str], now: datetime) -> Span:
    many = match["many"].lower()
    count = int(many) if many.isdecimal() else _NUMBERS[many]
    unit = match["unit"].lower()
    if unit == "day":
        return _days(now - timedelta(days=count))
    if unit == "week":
        return _days(_week(now) - timedelta(weeks=count), 7)
    if unit == "month":
        return _months_back(now, count)
    return _month(now.year - count, 1, now, 12)


def _past(match: re.Match[str], now: datetime) -> Span:
    many = match["many"].lower()
    count = int(many) if many.isdecimal() else _NUMBERS[many]
    days = {"day": 1, "week": 7, "month": 31, "year": 366}[match["unit"].lower()] * count
    return Span(_midnight(now - timedelta(days=days)), _midnight(now) + timedelta(days=1))


def _relative(match: re.Match[str], now: datetime) -> Span:
    back = 0 if match["which"].lower() == "this" else 1
    unit = match["unit"].lower()
    if unit == "week":
        return _days(_week(now) - timedelta(weeks=back), 7)
    if unit == "weekend":
        # The one that has begun, if it is this; else the one before.
        return _days(_week(now) + timedelta(days=5 - 7 * back), 2)
    if unit == "month":
        return _months_back(now, back)
    return _month(now.year - back, 1, now, 12)


def _weekday(match: re.Match[str], now: datetime) -> Span:
    wanted = _DAYS.index(match["weekday"].lower())
    back = (now.weekday() - wanted) % 7
    if (match["which"] or "").lower() == "last":
        back = back or 7  # said on a Tuesday, last Tuesday was a week ago
    return _days(now - timedelta(days=back))


def _week(now: datetime) -> datetime:
    return _midnight(now) - timedelta(days=now.weekday())


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){text}(?![\w-])", re.IGNORECASE)


_PATTERNS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str], datetime], Span]], ...]] = (
    (_pattern(rf"{_YEAR}-(?P<number>[01]?\d)-(?P<day>[0-3]?\d)"), _iso),
    (_pattern(rf"{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR})?"), _full),
    (_pattern(rf"{_MONTH} {_DAY}(?:,? {_YEAR})?"), _full),
    (_pattern(rf"{_MONTH}(?: of)?,? {_YEAR}"), _month_of_year),
    (_pattern(r"(?P<near>today|tonight|this\s+morning|the\s+day\s+before\s+yesterday|yesterday"
              r"|last\s+night)"), _near),
    (_pattern(rf"{_MANY} (?P<unit>day|week|month|year)s? (?:ago|back|earlier)"), _ago),
    (_pattern(rf"(?:in |over |during )?the (?:past|last) {_MANY} (?P<unit>day|week|month|year)s?"),
     _past),
    (_pattern(r"(?P<which>last|this|the past) (?P<unit>week|weekend|month|year)"), _relative),
    (_pattern(rf"(?:(?P<which>last|this|on) )?(?P<weekday>{'|'.join(_DAYS)})"), _weekday),
    (_pattern(rf"(?:in|during|of|since|last|this) (?:early |late |mid-?)?{_MONTH}"),
     _last_month_called),
    (_pattern(rf"(?:in|during|over|of|last|this) (?:the )?(?P<season>{'|'.join(_SEASONS)})"
              rf"(?: of)?(?: {_YEAR})?"), _season),
    (_pattern(rf"(?:in|during|of|since) {_YEAR}"), _year),
)  # fmt: skip
"""The more a form says, the earlier it stands; what it covers is no other's."""
