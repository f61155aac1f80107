"""A clean state for every test: which strategy, which stores, and whose fault it is when one stays dirty."""

from itest.isolation.isolation import Cleaner as Cleaner
