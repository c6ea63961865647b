"""The filters of the list of keys, all of them in its address: what is chosen, what it means, how to take it away."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from markupsafe import Markup
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict

from mushu.server.errors import Invalid
from mushu.server.hygiene import Sort
from mushu.server.keys import Scope
from mushu.server.web.api.key_list_models import KeyFilters
from mushu.server.web.markup import Html, select
from mushu.server.web.problems import field_errors_of

#: Keys of one page.
PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class FilterChoice:
    """One value of a filter: its words, and what HTTP and the commands call it."""

    words: str
    fields: Mapping[str, Any]


def _same(field: str, words: Mapping[str, str]) -> dict[str, FilterChoice]:
    return {value: FilterChoice(shown, {field: value}) for value, shown in words.items()}


_STATES: Final = {
    "active": "Active",
    "retiring": "Rotating",
    "disabled": "Disabled",
    "pending": "Pending",
    "expired": "Expired",
    "revoked": "Deleted",
    "failed": "Failed",
}
#: By parameter: what a filter is called where nothing is chosen, and its choices.
CHOICES: Final[dict[str, tuple[str, dict[str, FilterChoice]]]] = {
    "state": ("Any state", _same("state", _STATES)),
    "scope": ("Any scope", _same("scope", {scope: scope for scope in Scope})),
    "use": (
        "Any use",
        {
            "never": FilterChoice("Never used", {"unused": True}),
            "idle": FilterChoice("Idle for 90 days", {"idle": "90d"}),
            "day": FilterChoice("Used in the last day", {"used_within": "1d"}),
        },
    ),
    "expiry": (
        "Any expiry",
        {
            "soon": FilterChoice("Expires in 30 days", {"expires_within": "30d"}),
            "none": FilterChoice("No expiry", {"no_expiry": True}),
        },
    ),
    "need": (
        "Whatever they need",
        {
            "drifted": FilterChoice("Drifted", {"drifted": True}),
            "stalled": FilterChoice("Rotation stalled", {"stalled": True}),
            "left": FilterChoice("Owner left", {"owner_left": True}),
        },
    ),
}
SORTS: Final = {
    Sort.CREATED: "Newest first",
    Sort.NAME: "By name",
    Sort.LAST_USED: "Last used first",
    Sort.EXPIRES: "Expires first",
}
#: Fields of the form that always offer the same, by name: what they are called, and the words of each value.
_FIELDS: Final[dict[str, tuple[str, Mapping[str, str]]]] = {
    name: (label, {"": label} | {value: choice.words for value, choice in choices.items()})
    for name, (label, choices) in CHOICES.items()
    if name != "need"
}
#: Filters whose value is a text: how a chip names it.
_TEXTS: Final = {"search": "“{}”", "destination": "at {}", "created_by": "by {}"}
_DELETED: Final = "deleted"
_KNOWN: Final = (*CHOICES, *_TEXTS, _DELETED, "sort", "cursor")


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """What an address asks for."""

    #: Parameters as they were given, without those that are empty.
    given: Mapping[str, str]
    filters: KeyFilters
    sort: Sort
    cursor: str | None

    @property
    def is_narrowed(self) -> bool:
        return bool({*self.given} - {"sort", "cursor"})

    @property
    def chips(self) -> list[tuple[str, Mapping[str, str]]]:
        """Return the words of each filter that is chosen, and the parameters without it."""
        return [(_words(name, value), self.without(name)) for name, value in self.given.items() if name in _FILTERS]

    def without(self, *names: str) -> dict[str, str]:
        """Return the parameters but these; another filter begins at the first page again."""
        return {name: value for name, value in self.given.items() if name not in (*names, "cursor")}

    def sorted_by(self, sort: str) -> dict[str, str]:
        return self.without("sort") | {"sort": sort}

    def with_deleted(self) -> dict[str, str]:
        return self.without() | {_DELETED: "yes"}

    def offer(self, name: str, options: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return what a filter offers, with what is chosen among it, wherever that comes from."""
        chosen = self.given.get(name)
        more = {} if chosen is None or chosen in options else {chosen: chosen}
        return [*options.items(), *more.items()]

    def fields(self, destinations: Mapping[str, str], members: Mapping[str, str]) -> Markup:
        """Return the fields of the form; these destinations and members are offered, by what an address calls them."""
        places, people = {"": "Any destination"} | {**destinations}, {"": "By anybody"} | {**members}
        drawn = [
            *[_field(name, self.given.get(name, "")) for name in _FIELDS],
            select("destination", "Destination", self.offer("destination", places), self.given.get("destination", "")),
            select("created_by", "Created by", self.offer("created_by", people), self.given.get("created_by", "")),
            _field("sort", self.sort),
        ]
        return Markup("".join(drawn))  # noqa: S704 - of `Html` only

    def next_page(self, cursor: str) -> dict[str, str]:
        return self.without() | {"cursor": cursor}


_FILTERS: Final = (*CHOICES, *_TEXTS, _DELETED)


_EVERYTHING: Final = KeyQuery({}, KeyFilters(), Sort.CREATED, None)


def key_query(parameters: "MultiDict[str, str]") -> KeyQuery:
    """Return what an address asks for.

    Raises:
        Invalid: a parameter or a value is not known; a typo would show more than is asked for.
    """
    given = {name: value.strip() for name, value in parameters.items() if value.strip()}
    if not given:
        return _EVERYTHING
    unknown = [name for name in given if name not in _KNOWN]
    if unknown:
        raise Invalid(f"The list takes {', '.join(_KNOWN)}, and nothing else.", field="filter")
    fields: dict[str, Any] = {name: given[name] for name in _TEXTS if name in given}
    if _DELETED in given:
        fields["include_deleted"] = True
    for name, (_, choices) in CHOICES.items():
        if name in given:
            fields |= _chosen(choices, name, given[name]).fields
    try:
        filters = KeyFilters.model_validate(fields)
    except ValidationError as error:
        raise Invalid("; ".join(f"{one.field} {one.message}" for one in field_errors_of(error)) + ".") from None
    sort = given.get("sort", Sort.CREATED.value)
    if sort not in [*Sort]:
        raise Invalid(f"The list is sorted by one of {', '.join(Sort)}.", field="sort")
    return KeyQuery(given, filters, Sort(sort), given.get("cursor"))


@cache
def _field(name: str, chosen: str) -> Html:
    label, options = _FIELDS.get(name, ("Order", SORTS))
    return select(name, label, options.items(), chosen)


def _chosen(choices: Mapping[str, FilterChoice], name: str, value: str) -> FilterChoice:
    if value not in choices:
        raise Invalid(f"{name} is one of {', '.join(choices)}.", field=name)
    return choices[value]


def _words(name: str, value: str) -> str:
    if name in CHOICES:
        return CHOICES[name][1][value].words
    return _TEXTS[name].format(value) if name in _TEXTS else "deleted ones, too"
