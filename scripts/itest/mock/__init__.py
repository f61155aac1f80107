"""Third parties that answer, fail and remember: the mock server's stubs, what decides on a request, and its journal.

Runs in the mock's container too, which has of the toolkit this folder, errors.py, suite/yamlfile.py, suite/schema.py,
and of packages PyYAML, jinja2 and mitmproxy: nothing here imports more.
"""
