"""The dashboard: the pages of an organization, for who is signed in in a browser.

    shell.py    what surrounds each page: the organization, the menu, the switch to the sandbox
    start.py    where a browser begins
    home.py     what an organization's keys need
    key_list.py, key_filters.py, key_rows.py     the list of keys
    key_page.py, trail.py                        one key, and what happened to it
    create.py, key_form.py                       a new key: delivered, or shown once
    change.py                                    disable, enable, delete; and what would break
    rotate.py                                    a rotation, begun and watched
    destinations.py, destination_rows.py, destination_changes.py      where keys are delivered to
    members.py, inviting.py                      who belongs to the organization, and who is invited
    audit_log.py                                 what was changed, with filters, and as CSV
    org_settings.py                              what holds for new keys and members
    server_pages.py                              health and policies, for operators
    charts.py   usage as paths of SVG
    routes.py   the table of pages, each mounted for live and for test

A page is a view like those of `api/`: it parses, calls what HTTP and the commands call, too, and shows the answer.
It says with `guard.org_page` who may see it. Everything that changes something is a POST, whose token is checked for
all of them (`routes.py`). A page works without JavaScript; it may load nothing from elsewhere and has no inline script.
"""
