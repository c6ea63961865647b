"""Pages for people: plain HTML that works without JavaScript, at 320 pixels and with a keyboard.

A page is a view like those of `api/`, with a form in place of JSON. It may not hold what only an API needs.
The forms are here; each checks its own CSRF token (Flask-WTF).
"""

from typing import Any

from flask import request
from flask_wtf import FlaskForm
from wtforms import EmailField, HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired, Length

from mushu.server.users.passwords import MAX_LENGTH

_PASSWORD = Length(max=MAX_LENGTH, message="That is longer than any password here.")


class PageForm(FlaskForm):  # type: ignore[misc]
    """A form that reads forms only: Flask-WTF would also read JSON, in which a field need not be text."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        def wrap_formdata(self, form: FlaskForm, _: Any) -> Any:
            return request.form if form.is_submitted() else None


class EmptyForm(PageForm):
    """A button that changes something."""


class SignInForm(PageForm):
    email = EmailField("E-mail", [InputRequired("Type your e-mail address."), Length(max=254)])
    password = PasswordField("Password", [InputRequired("Type your password."), _PASSWORD])
    next = HiddenField()


class ForgottenPasswordForm(PageForm):
    email = EmailField("E-mail", [InputRequired("Type your e-mail address."), Length(max=254)])


class NewPasswordForm(PageForm):
    password = PasswordField("New password", [InputRequired("Type a password."), _PASSWORD])
    repeated = PasswordField("The same again", [InputRequired("Type it a second time."), _PASSWORD])


class ChangePasswordForm(NewPasswordForm):
    current = PasswordField("Current password", [InputRequired("Type your current password."), _PASSWORD])


class UserCodeForm(PageForm):
    user_code = StringField("Code", [InputRequired("Type the code that your terminal shows."), Length(max=20)])
