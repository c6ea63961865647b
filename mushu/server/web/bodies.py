"""Reads the body of a request; no other module does.

The application's requests are of the class below. So the guard, the views and Flask-WTF all get what this module
reads. JSON is an object as `mushu.strict_json` reads it; a form has each field once.
`docs/decisions/0014-one-reader-of-bodies.md` says why the rest is refused.
"""

from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl

from flask import Request, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.formparser import FormDataParser
from werkzeug.utils import cached_property

from mushu import strict_json
from mushu.server.errors import Invalid, MalformedBody

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: More than any body of the API has. Each unknown field costs an error in the answer, and a megabyte holds many.
MOST_FIELDS: Final = 100
LIMITS: Final = strict_json.Limits()
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
_CODING: Final = "HTTP_CONTENT_ENCODING"

Form = MultiDict[str, Any]
Parsed = tuple[IO[bytes], Form, Form]


class StrictFormParser(FormDataParser):
    """Reads forms, and refuses those that Werkzeug would read as empty or in one of several ways."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> Parsed:
        """Return the rest of the stream, the fields and the files.

        Raises:
            MalformedBody: its Content-Type says that it is a form, and it is not.
        """
        self.silent, fields, files = False, self.cls(), self.cls()
        try:
            if mimetype == _FORM:
                fields = self.cls(_fields(stream.read()))
            elif mimetype == _MULTIPART:
                stream, fields, files = super().parse(stream, mimetype, content_length, options)
            good = len(fields) == sum(1 for _ in fields.items(multi=True))
        except ValueError:  # not UTF-8, too many fields, no boundary, no end
            good = False
        if not good:
            raise MalformedBody(
                f"The body must be a form in UTF-8, of {MOST_FIELDS} fields at most, each of them once."
            )
        return stream, fields, files


class BodyRequest(Request):
    """A request whose body is read here."""

    form_data_parser_class = StrictFormParser
    max_form_parts = MOST_FIELDS

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002
        """Return the object that the body is; the arguments are Werkzeug's, and make no reader more lenient."""
        if not isinstance(self._json, dict) or len(self._json) > MOST_FIELDS:
            raise Invalid(f"The body must be a JSON object, of {MOST_FIELDS} fields at most.", field="body")
        return self._json

    def _load_form_data(self) -> None:
        if "form" not in self.__dict__:  # it is read once
            _refuse_coding(self.environ)
        super()._load_form_data()

    # Not that of functools: until Python 3.12 it holds one lock for all requests, also while one waits for its body.
    @cached_property
    def _json(self) -> object:
        if self.environ.get("CONTENT_TYPE") != "application/json" and not self.is_json:
            raise UnsupportedMediaType
        _refuse_coding(self.environ)
        try:
            return strict_json.read(self._content, LIMITS)
        except strict_json.NotStrictJson as error:
            reason = str(error)
        raise MalformedBody(f"The body cannot be understood. {reason}")

    def find_json_object(self) -> dict[str, Any] | None:
        """Return the object that the body is, or None if there is no body, or no JSON, or no object."""
        found = self._json if self.is_json and self._content else None
        return found if isinstance(found, dict) else None

    @property
    def _content(self) -> bytes:
        stream = self.environ["wsgi.input"]  # whole where it was read before (`slow_clients.py`)
        return stream.getvalue() if isinstance(stream, BytesIO) else self.get_data()


def json_object() -> dict[str, Any]:
    """Return the object that the body of the current request is.

    Raises:
        UnsupportedMediaType: its Content-Type is not JSON.
        MalformedBody: it is not JSON, or readers could differ about it, or it is too large.
        Invalid: it is JSON, but not an object, or one with too many fields.
    """
    return cast("dict[str, Any]", request.get_json())


def form_fields() -> dict[str, Any]:
    """Return the fields of the form that the body of the current request is; a file is one that no model takes.

    Raises:
        MalformedBody: its Content-Type says that it is a form, and it is not.
    """
    return {**request.files.to_dict(), **request.form.to_dict()}


def find_json_object() -> dict[str, Any] | None:
    """Return the object that the body is, or None if there is no body, or no JSON, or no object.

    Raises:
        MalformedBody: its Content-Type is JSON, and it cannot be understood.
    """
    return cast(BodyRequest, request).find_json_object()


def whole_json(environ: "WSGIEnvironment") -> object:
    """Return what a JSON body means that is here already; it stays for whoever reads it next.

    Raises:
        LookupError, TypeError, ValueError: it is of another type, or not all here, or not understood.
    """
    return strict_json.read(_whole(environ, _JSON), LIMITS)


def whole_form(environ: "WSGIEnvironment") -> dict[str, str]:
    """Return the fields of a form that is here already, as `whole_json`."""
    fields = _fields(_whole(environ, _FORM))
    found = dict(fields)
    if len(found) != len(fields):
        raise ValueError("a field stands twice")
    return found


def whole_body(environ: "WSGIEnvironment") -> bytes:
    """Return a body that is here already; it stays for whoever reads it next.

    Raises:
        TypeError: it is not all here, or its bytes may stand for others.
    """
    stream = environ["wsgi.input"]
    if not isinstance(stream, BytesIO) or _CODING in environ:
        raise TypeError("another body than a plain one")
    return stream.getvalue()


def _refuse_coding(environ: "WSGIEnvironment") -> None:
    """Refuse a body that others would decompress first."""
    if environ.get(_CODING, "identity").strip().lower() != "identity":
        raise MalformedBody("The body cannot be understood. It has a Content-Encoding: send it without one.")


def _whole(environ: "WSGIEnvironment", media_type: str) -> bytes:
    if environ["CONTENT_TYPE"].partition(";")[0] != media_type:
        raise ValueError("another body than a plain one")
    return whole_body(environ)


def _fields(data: bytes) -> list[tuple[str, str]]:
    return parse_qsl(data.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
