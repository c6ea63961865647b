"""Named destinations: an operator gives a place a name, and only such names are taken over HTTP.

A URI in a request could name any file of the server; a name can only be one that someone with a shell here has chosen,
for one organization and one environment. What is needed to get in there (addresses, tokens) is sealed. Read on in
`service.py`.
"""
