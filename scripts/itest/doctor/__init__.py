"""What keeps suites from running, or makes them slow, brittle or unsafe: of the machine and of the files, in seconds.

Nothing is started, and nothing is changed.
"""

from itest.doctor.doctor import Diagnosis, examine
from itest.doctor.finding import Finding, exit_code

__all__ = ["Diagnosis", "Finding", "examine", "exit_code"]
