"""Pages for people: plain HTML that works without JavaScript, at 320 pixels and with a keyboard.

A page is a view like those of `api/`, with a form in place of JSON. It may not hold what only an API needs.
"""
