"""HTTP: views that parse, call one function of a domain or a verb, and answer.

`admission.py` runs before every view and decides who may pass, from the mark that a decorator of `guard.py` left on it.
`problems.py` is the only module where an error becomes a status. `openapi.py` is the OpenAPI layer. `api/` has the JSON
endpoints, one module for each noun; `pages/` has what people see in a browser.

This package holds no rule of a domain, and no module outside it may know HTTP.
"""
