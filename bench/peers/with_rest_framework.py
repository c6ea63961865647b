"""Verifies keys with djangorestframework-api-key and SQLite, as its permission class does: for `compare.py`."""

import sys
import time

import django
from django.conf import settings

database = sys.argv[1]
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database, "CONN_MAX_AGE": None}},
    INSTALLED_APPS=["rest_framework", "rest_framework_api_key"],
    SECRET_KEY="of the bench",
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from rest_framework_api_key.models import APIKey  # noqa: E402
from rest_framework_api_key.permissions import HasAPIKey  # noqa: E402

call_command("migrate", verbosity=0)
key = APIKey.objects.create_key(name="bench")[1]
request = HttpRequest()
request.META["HTTP_AUTHORIZATION"] = f"Api-Key {key}"
permission = HasAPIKey()
assert permission.has_permission(request, None)
while line := sys.stdin.readline():
    before = time.process_time()
    for _ in range(int(line)):
        permission.has_permission(request, None)
    print(time.process_time() - before, flush=True)
