"""Faults between a service and those it calls, in a container that shares the service's network namespace.

Runs in that container (compose/images/faults), which has of the toolkit this folder and errors.py, and no package:
nothing here imports more. What tests and people use is itest/faults.
"""
