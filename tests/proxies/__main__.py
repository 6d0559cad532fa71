"""Runs the table of cases against the proxies that are named, all five if none is.

    python3 tests/proxies [-k CASE] [nginx] [caddy] [traefik] [envoy] [haproxy]

HANDSTAMP_BIN names the server's binary (else the release build of this repository); HANDSTAMP_PROXIES a folder in which
proxies are looked for before the PATH. A proxy that is missing fails.
"""

import argparse
import sys
import unittest

import base
import cases
import servers

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("-k", dest="only", default="", help="only cases with this in their names")
arguments.add_argument("proxies", nargs="*", choices=[[], *(proxy.name for proxy in servers.PROXIES)])
chosen = arguments.parse_args()

base.HANDSTAMP = servers.Handstamp()
suite = unittest.TestSuite()
for proxy in servers.PROXIES:
    if not chosen.proxies or proxy.name in chosen.proxies:
        suite.addTests(cases.of(proxy, chosen.only))
if not suite.countTestCases():
    sys.exit("no case has such a name")
result = unittest.TextTestRunner(verbosity=2).run(suite)
sys.exit(0 if result.wasSuccessful() and not result.skipped else 1)
