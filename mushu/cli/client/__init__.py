"""The client of the HTTP API: the connection, requests, answers page by page, failures as sentences, and files.

Nothing here may print an answer, read an option of the command line, or import a command.
"""
