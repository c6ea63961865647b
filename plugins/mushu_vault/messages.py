"""One question and one answer; neither shows what is in it."""

from dataclasses import dataclass

from mushu_vault.document import Document


@dataclass(frozen=True, slots=True)
class Request:
    """One question; `body` shows nothing of itself."""

    method: str
    #: Below `/v1/`, not encoded.
    path: str
    body: Document | None = None
    #: The version that is asked for, or None for the current one.
    version: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """One answer."""

    status: int
    #: None where it is no JSON object.
    body: Document | None
    #: Where a redirect leads to.
    location: str = ""

    @property
    def is_success(self) -> bool:
        """Whether it was done, as far as the status goes."""
        return 200 <= self.status < 300

    @property
    def is_absence(self) -> bool:
        """Whether it says in the words of a KV engine that nothing is there; any web server can say 404."""
        return self.status == 404 and self.body is not None and self.body.texts("errors") == []

    def mentions(self, phrase: str) -> bool:
        """Tell whether `phrase`, in lower case, is among the reasons given."""
        reasons = self.body.texts("errors") if self.body is not None else None
        return any(phrase in reason.lower() for reason in reasons or ())
