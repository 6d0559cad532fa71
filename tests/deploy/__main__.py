"""Judges deploy/: the compose file and the chart as their own tools read them, and then what they describe, running.

    python3 tests/deploy [-k CASE]

What runs are the real programs, as plain processes: each in a network and a view of the files of its own, made of what
compose.yaml and the rendered chart say (see hosts.py). No container engine is needed, but root is. HANDSTAMP_BIN names the
server's binary (else the release build of this repository); HANDSTAMP_DEPLOY a folder with caddy and the Python packages of
requirements.txt in bin/.
"""

import argparse
import os
import sys
import unittest

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("-k", dest="only", default="", help="only cases with this in their names")
chosen = arguments.parse_args()

# A network of our own with nothing in it, and mounts that nobody else sees: both are gone when the last process is.
MARK = "HANDSTAMP_DEPLOY_APART"
if MARK not in os.environ:
    os.environ[MARK] = "yes"
    apart = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    if os.geteuid() != 0:
        apart = ["sudo", "-n", f"--preserve-env=PATH,HANDSTAMP_BIN,HANDSTAMP_DEPLOY,{MARK}", *apart]
    os.execvp(apart[0], apart)

import hosts  # noqa: E402
import test_chart  # noqa: E402
import test_compose  # noqa: E402

hosts.prepare()
loader = unittest.TestLoader()
if chosen.only:
    loader.testNamePatterns = [f"*{chosen.only}*"]
suite = unittest.TestSuite(loader.loadTestsFromModule(module) for module in (test_compose, test_chart))
if not suite.countTestCases():
    sys.exit("no case has such a name")
result = unittest.TextTestRunner(verbosity=2).run(suite)
sys.exit(0 if result.wasSuccessful() and not result.skipped else 1)
