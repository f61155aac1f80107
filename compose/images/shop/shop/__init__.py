"""The sample application: a small shop over PostgreSQL and Redis, for suites to test and for a team to replace."""
