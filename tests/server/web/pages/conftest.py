"""A user with a password, and the browser in which they are signed in."""

import pytest
from flask import Flask

from mushu.server.users.models import User
from tests.server.conftest import World
from tests.server.web.pages.browser import Browser


@pytest.fixture
def user(world: World) -> User:
    return world.user(with_password=True)


@pytest.fixture
def browser(app: Flask, user: User, world: World) -> Browser:
    browser = Browser(app)
    browser.sign_in(user.email, world.password)
    return browser
