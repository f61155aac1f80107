"""Faults between services and of services, from a test's side: `with faults.latency("shop", "postgres", ms=200): …`"""
