"""Stubs made from what a real service answers, without its secrets: `make record`.

A suite's tests run once with the mock passing their requests on. What both sides said is held in memory, masked by the
rules of a reviewed file, and written only where nothing is left that looks like a secret.
"""
