"""The server: organizations, keys and tokens, delivery, and the HTTP and command line that stand in front of them.

Imports point down only (design, section 4; held by the import-linter contracts in setup.cfg):

    main -> up -> app -> web | commands -> operation -> core -> resources -> gate | lifecycle -> delivery -> usage
    -> keys | tokens -> users -> orgs -> audit -> db | logs | mail -> clock -> config -> instance -> errors

Read on in `app.py` (what is mounted where), `errors/` (what can go wrong), `lifecycle/` (the verbs of a key) and
`operation/` (what keeps the server running).
"""
