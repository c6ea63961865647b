"""The forms of the pages; each checks its own CSRF token (Flask-WTF)."""

from flask_wtf import FlaskForm
from wtforms import EmailField, HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired, Length

from mushu.server.users.passwords import MAX_LENGTH

_PASSWORD = Length(max=MAX_LENGTH, message="That is longer than any password here.")


class EmptyForm(FlaskForm):  # type: ignore[misc]
    """A button that changes something."""


class SignInForm(FlaskForm):  # type: ignore[misc]
    email = EmailField("E-mail", [InputRequired("Type your e-mail address."), Length(max=254)])
    password = PasswordField("Password", [InputRequired("Type your password."), _PASSWORD])
    next = HiddenField()


class NewPasswordForm(FlaskForm):  # type: ignore[misc]
    password = PasswordField("New password", [InputRequired("Type a password."), _PASSWORD])
    repeated = PasswordField("The same again", [InputRequired("Type it a second time."), _PASSWORD])


class ChangePasswordForm(NewPasswordForm):
    current = PasswordField("Current password", [InputRequired("Type your current password."), _PASSWORD])


class UserCodeForm(FlaskForm):  # type: ignore[misc]
    user_code = StringField("Code", [InputRequired("Type the code that your terminal shows."), Length(max=20)])
