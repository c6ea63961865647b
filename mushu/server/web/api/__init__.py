"""The JSON API: one module a resource, each with its models, its views and, at its end, its route table.

A view parses, calls one service in a transaction of its own, and answers.
"""
