"""How a run ended and why: results, JUnit, summary, evidence, with secrets masked."""

from itest.verdict.verdict import Verdict, judge, run_category, stopped, suite_verdict

__all__ = ["Verdict", "judge", "run_category", "stopped", "suite_verdict"]
