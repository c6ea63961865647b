"""The JSON API: one module for each noun, with its models, its views and, at its end, its route table.

A view parses, calls one function in a transaction, and answers, in 15 lines at most. It may not import another view:
what several of them share is in `models.py`.
"""
