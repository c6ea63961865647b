"""HTTP: views that parse, call one service, and answer.

`guard.py` stands before every view and decides who may pass, from the mark that a decorator left on it; `problems.py`
is the only place where an error becomes a status; `openapi.py` holds the OpenAPI layer; `api/` has the JSON endpoints,
one module a resource, `pages/` what people see in a browser.
"""
