"""What all cases have in common: a request to the proxy, what reached the application, and what a refusal looks like."""

import base64
import json
from urllib.parse import unquote

from wire import send

HANDSTAMP = None
COOKIE = "__Host-handstamp"
NAVIGATION = [("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), ("Sec-Fetch-Mode", "navigate")]
FETCH = [("Accept", "*/*"), ("Sec-Fetch-Mode", "cors")]
IDENTITY = ["ID", "USER", "TAGS", "GROUPS", "DATA"]
# Every way to write a header that an application might take for one of ours.
SPELLINGS = [
    "X-Session-User", "x-session-user", "X-SESSION-USER", "x-Session-USER",
    "X_Session_User", "x_session_user", "X_SESSION_USER", "X-Session_User", "X_Session-User",
]
ADMIN = {"tags": ["role:admin"]}


def cookie(token):
    return [("Cookie", f"other=1; {COOKIE}={token}; another=2")]


def new_token(answer):
    """The token in the session cookie that an answer sets, if it does."""
    for line in answer.all("Set-Cookie"):
        name, _, rest = line.partition("=")
        if name == COOKIE:
            return rest.split(";")[0]
    return None


class Base:
    proxy = None

    @classmethod
    def setUpClass(cls):
        cls.running = cls.proxy(HANDSTAMP)

    @classmethod
    def tearDownClass(cls):
        cls.running.stop()

    def setUp(self):
        self.running.tap.mend()
        self.running.tap.take()
        self.running.upstream.take()

    def send(self, method="GET", target="/datasets", headers=(), **more):
        return send(self.running.address, method, target, list(headers), **more)

    def received(self):
        """The one request that has reached the application."""
        received = self.running.upstream.take()
        self.assertEqual(len(received), 1, [(one.method, one.path) for one in received])
        return received[0]

    def assert_nothing_received(self):
        received = self.running.upstream.take()
        self.assertEqual(received, [], [(one.method, one.path, one.headers) for one in received])

    def assert_told(self, session, tags=(), groups=(), data=None):
        """The application was told who it is, by exactly one header of each name, in one spelling."""
        received = self.received()
        told = received.identity()
        if not self.proxy.says_nothing_aloud:
            told = {**{f"X_SESSION_{name}": [""] for name in IDENTITY}, **told}
        self.assertEqual(sorted(told), sorted(f"X_SESSION_{name}" for name in IDENTITY), received.headers)
        self.assertTrue(all(len(values) == 1 for values in told.values()), told)
        one = {name: told[f"X_SESSION_{name}"][0] for name in IDENTITY}
        listed = lambda text: [unquote(item) for item in text.split(",") if item]
        self.assertEqual(one["ID"], session["id"])
        self.assertEqual(unquote(one["USER"]), session["user_id"])
        self.assertEqual(listed(one["TAGS"]), sorted(tags))
        self.assertEqual(listed(one["GROUPS"]), sorted(groups))
        if data is None:
            self.assertEqual(one["DATA"], "")
        else:
            text = one["DATA"] + "=" * (-len(one["DATA"]) % 4)
            self.assertEqual(json.loads(base64.urlsafe_b64decode(text)), data)
        return received

    def assert_refused(self, answer, status, code):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.code(), code, answer)
        self.assertIn("json", answer.one("Content-Type") or "", answer)
        self.assertEqual(answer.one("Cache-Control"), "no-store", answer)
        self.assert_nothing_received()
