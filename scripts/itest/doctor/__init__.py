"""What keeps suites from running, or makes them slow, brittle or unsafe: of the machine and of the files, in seconds.

Nothing is changed. Nothing is started, but where a seal is asked for two networks and containers for two seconds.
"""

from itest.doctor.doctor import Diagnosis, examine
from itest.doctor.finding import Finding, exit_code

__all__ = ["Diagnosis", "Finding", "examine", "exit_code"]
