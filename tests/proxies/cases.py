"""What must hold behind each of the five proxies, with the configurations of examples/proxies: one table for all."""

import posixpath
import unittest
from urllib.parse import parse_qs, unquote, urlsplit

import base
from base import ADMIN, COOKIE, FETCH, IDENTITY, NAVIGATION, SPELLINGS, cookie, new_token
from servers import wait_for
from wire import CLIENT, upgrade


class Cases(base.Base):
    # Who may pass.

    def test_allowed_and_told_who_it_is(self):
        created = base.HANDSTAMP.login("alice", tags=["org:acme", "plan:gold"], access_groups=["staff"], data={"a": 1})
        answer = self.send(headers=cookie(created["token"]))
        self.assertEqual(answer.status, 200, answer)
        self.assertIn("theirs=1; Path=/", answer.all("Set-Cookie"))
        self.assert_told(created["session"], ["org:acme", "plan:gold"], ["staff"])

    def test_users_of_any_name(self):
        for user in ["zoë, \"the first\"", "a b@example.org", "100%,;=&+'", "日本", "x" * 255]:
            with self.subTest(user=user):
                created = base.HANDSTAMP.login(user)
                self.assertEqual(self.send(headers=cookie(created["token"])).status, 200)
                self.assert_told(created["session"])

    def test_a_token_in_a_header(self):
        created = base.HANDSTAMP.login()
        for header in [("Authorization", f"Bearer {created['token']}"), ("Session", created["token"])]:
            with self.subTest(header=header[0]):
                self.assertEqual(self.send(headers=[header]).status, 200)
                self.assert_told(created["session"])

    def test_other_cookies_may_be_many(self):
        created = base.HANDSTAMP.login()
        for length in [4_000, 7_000]:
            with self.subTest(length=length):
                many = "; ".join(f"c{n}={'x' * 90}" for n in range(length // 100))
                answer = self.send(headers=[("Cookie", f"{many}; {COOKIE}={created['token']}")])
                self.assertEqual(answer.status, 200, answer)
                self.assert_told(created["session"])
        # One that is ours by its name only, and none by its size.
        answer = self.send(headers=[*FETCH, ("Cookie", f"{COOKIE}={'x' * 7_000}")])
        self.assertEqual(answer.status, 401, answer)
        self.assert_nothing_received()

    def test_methods_arrive_as_they_are(self):
        created = base.HANDSTAMP.login()
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]:
            with self.subTest(method=method):
                self.assertEqual(self.send(method, headers=cookie(created["token"])).status, 200)
                self.assertEqual(self.assert_told(created["session"]).method, method)

    def test_data_where_it_is_wanted(self):
        data = {"name": "Zoë", "roles": ["a", "b"], "pad": "x" * 2900}
        created = base.HANDSTAMP.login(data=data, **ADMIN)
        answer = self.send(target="/admin/users", headers=cookie(created["token"]))
        self.assertEqual(answer.status, 200, answer)
        self.assert_told(created["session"], ADMIN["tags"], data=data)

    def test_what_is_open_to_everybody(self):
        token = base.HANDSTAMP.login()["token"]
        for headers in [[], cookie(token), cookie("hst_nonsense")]:
            answer = self.send(target="/public/logo", headers=headers)
            self.assertEqual(answer.status, 200, answer)
            told = self.received().identity()
            self.assertEqual([value for values in told.values() for value in values if value], [], told)

    # Who may not.

    def test_refused_without_a_good_session(self):
        created = base.HANDSTAMP.login()
        ended = base.HANDSTAMP.login()
        base.HANDSTAMP.call("DELETE", f"/v1/sessions/{ended['session']['id']}")
        token = created["token"]
        changed = token[:-1] + ("A" if token[-1] != "A" else "B")
        table = [
            ([], "token_missing"),
            ([("Cookie", f"{COOKIE}=")], "token_missing"),
            (cookie("nonsense"), "session_not_found"),
            (cookie(changed), "session_not_found"),
            (cookie(base.HANDSTAMP.key), "session_not_found"),
            (cookie(ended["token"]), "session_revoked"),
            ([("Cookie", f"{COOKIE}={token}; {COOKIE}={ended['token']}")], "session_not_found"),
            ([("Cookie", f"{COOKIE}={token}"), ("Session", ended["token"])], "session_not_found"),
            ([("Cookie", f"{COOKIE.lower()}={token}")], "token_missing"),
            ([("X-Session-Id", created["session"]["id"]), ("X-Session-User", "alice")], "token_missing"),
            ([("Authorization", "Bearer theirs.own.token")], "session_not_found"),
        ]
        for headers, code in table:
            with self.subTest(headers=headers):
                self.assert_refused(self.send(headers=[*FETCH, *headers]), 401, code)

    def test_refused_where_more_is_needed(self):
        anybody, admin = base.HANDSTAMP.login(), base.HANDSTAMP.login(**ADMIN)
        for target in ["/admin", "/admin/", "/admin/users?tags=role:user"]:
            with self.subTest(target=target):
                # Not even on the way to a page: who is logged in would only come back from the login page.
                self.assert_refused(self.send(target=target, headers=[*NAVIGATION, *cookie(anybody["token"])]), 403, "tag_missing")
                answer = self.send(target=target, headers=cookie(admin["token"]))
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(self.received().path, target)

    def test_changes_show_the_csrf_token_where_that_is_wanted(self):
        token = base.HANDSTAMP.login(**ADMIN)["token"]
        csrf = self.send(target="/v1/auth/session", headers=[*FETCH, *cookie(token)]).json()["csrf_token"]
        for method in ["POST", "DELETE"]:
            with self.subTest(method=method):
                answer = self.send(method, "/admin/users", [*FETCH, *cookie(token)])
                fresh = [line for line in answer.all("Set-Cookie") if line.startswith("XSRF-TOKEN=")]
                self.assert_refused(answer, 403, "csrf_token_invalid")
                shown = [*FETCH, ("X-XSRF-TOKEN", fresh[0].split("=", 1)[1].split(";")[0]), *cookie(token)]
                self.assertEqual(self.send(method, "/admin/users", shown).status, 200)
                self.assertEqual(self.received().method, method)
                shown = [*FETCH, ("X-XSRF-TOKEN", csrf), *cookie(token)]
                self.assertEqual(self.send(method, "/admin/users", shown).status, 200)
                self.received()
                for page in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]:
                    self.assert_refused(self.send(method, "/admin/users", [*shown, page]), 403, "origin_not_allowed")
                lie = ("X-Forwarded-Method", "GET")
                self.assert_refused(self.send(method, "/admin/users", [*FETCH, lie, *cookie(token)]), 403, "csrf_token_invalid")
        self.assertEqual(self.send("GET", "/admin/users", cookie(token)).status, 200)
        self.received()

    def test_paths_that_mean_another_one(self):
        anybody = base.HANDSTAMP.login()
        roundabout = [
            "/public/../admin/x", "/public/%2e%2e/admin/x", "/public/..%2fadmin/x", "/public/%2e%2e%2fadmin/x",
            "//admin/x", "/./admin/x", "/x/../admin/x", "/%61dmin/x", "/admin%2fx", "/public//../admin/x",
            "/public/..;/admin/x", "/public/..%5cadmin/x", "/public/../../admin/x", "/public/%252e%252e/admin/x",
            "/public/..\\admin/x", "/v1/auth/../../admin/x", "/v1/auth/%2e%2e/%2e%2e/admin/x",
        ]
        for target in roundabout:
            for headers in ([], cookie(anybody["token"])):
                with self.subTest(target=target, logged_in=bool(headers)):
                    self.send(target=target, headers=headers)
                    for received in self.running.upstream.take():
                        meant = posixpath.normpath("/" + unquote(received.path).replace("\\", "/").lstrip("/"))
                        self.assertFalse(meant.startswith("/admin"), f"{received.path} has passed without the tag")
                        if not headers:
                            self.assertTrue(meant.startswith("/public/"), f"{received.path} has passed without a session")

    def test_nobody_passes_while_handstamp_is_away(self):
        created = base.HANDSTAMP.login()
        self.running.tap.cut()
        answer = self.send(headers=cookie(created["token"]))
        self.assertIn(answer.status, [500, 502, 503, 504], answer)
        self.assert_nothing_received()
        self.running.tap.mend()

        def again():
            return True if self.send(headers=cookie(created["token"])).status == 200 else None

        wait_for("requests pass again", again)

    # What a client makes up.

    def test_headers_that_a_client_made_up(self):
        created = base.HANDSTAMP.login("alice")
        made_up = [(name, "mallory") for name in SPELLINGS]
        made_up += [("X-Session-Tags", "role:admin"), ("x_session_tags", "role:admin"), ("X-Session-Groups", "wheel")]
        made_up += [("X-Session-Data", "eyJhIjoxfQ"), ("X-Session-Id", "ses_other"), ("X-Session-Id", "ses_another")]
        answer = self.send(headers=[*made_up, *cookie(created["token"])])
        self.assertEqual(answer.status, 200, answer)
        self.assert_told(created["session"])
        for name in SPELLINGS:
            with self.subTest(name=name):
                self.assertEqual(self.send(headers=[(name, "mallory"), *cookie(created["token"])]).status, 200)
                self.assert_told(created["session"])
                # Where nobody is asked, nothing of it arrives either.
                self.assertEqual(self.send(target="/public/x", headers=[(name, "mallory")]).status, 200)
                told = self.received().identity()
                self.assertEqual([value for values in told.values() for value in values if value], [], told)

    def test_headers_that_a_client_wants_removed(self):
        created = base.HANDSTAMP.login("alice", tags=["org:acme"])
        names = ", ".join(f"X-Session-{name.title()}" for name in IDENTITY)
        for connection in [f"close, {names}", f"{names}", "close, Cookie, X-Forwarded-For"]:
            with self.subTest(connection=connection):
                headers = [("Connection", connection), *cookie(created["token"])]
                if "close" not in connection:
                    headers.append(("Connection", "close"))
                answer = self.send(headers=headers)
                # A proxy may refuse such a request; if it passes, nothing has been taken from it.
                if answer.status == 200:
                    self.assert_told(created["session"], ["org:acme"])
                else:
                    self.assertIn(answer.status, [400, 401], answer)
                    self.assert_nothing_received()

    def test_queries_are_the_clients_own(self):
        anybody = base.HANDSTAMP.login(data={"secret": 1})
        queries = [
            "a=1&b=2", "q=caf%C3%A9+x%20y&q=%26%3D", "tags=role:admin", "rotate=never&data=1&login=302", "data=1", "?", "",
            "max_auth_age=0", "min_level=3", "apikey=hsk_x", "access_groups=wheel&tags=a:b", ";tags=role:admin", "%00=%ff",
        ]
        for query in queries:
            with self.subTest(query=query):
                target = f"/datasets?{query}"
                answer = self.send(target=target, headers=cookie(anybody["token"]))
                self.assertEqual(answer.status, 200, answer)
                received = self.assert_told(anybody["session"])
                expected = target.replace(";", self.proxy.semicolon_becomes)
                self.assertEqual(received.path.rstrip("?"), expected.rstrip("?"))

    def test_the_clients_address_is_the_one_of_its_connection(self):
        created = base.HANDSTAMP.login(tags=["case:fixed"], ip=CLIENT)
        lies = [[], [("X-Forwarded-For", CLIENT)], [("X-Forwarded-For", "127.0.0.1")], [("Forwarded", f"for={CLIENT}")]]
        lies += [[("X-Real-IP", CLIENT)], [("X_Forwarded_For", CLIENT)], [("Connection", "close, X-Forwarded-For")]]
        lies += [[("X-Forwarded-For", f"{CLIENT}, 127.0.0.1")], [("X-Envoy-External-Address", CLIENT)]]
        self.assertEqual(self.send(headers=cookie(created["token"])).status, 200)
        self.received()
        for lie in lies:
            with self.subTest(lie=lie):
                answer = self.send(headers=[*FETCH, *lie, *cookie(created["token"])], source="127.0.0.10")
                self.assert_nothing_received()
                # A proxy may take offence at the request itself.
                if answer.status != 400:
                    self.assertEqual(answer.status, 403, answer)
                    self.assertIn(answer.code(), ["ip_not_allowed", "ip_missing"], answer)
        for lie in lies[1:]:
            with self.subTest(lie=lie, source=CLIENT):
                answer = self.send(headers=[*FETCH, *lie, *cookie(created["token"])])
                if not any(name == "Connection" for name, _ in lie):
                    self.assertEqual(answer.status, 200, answer)
        self.running.upstream.take()

    # What belongs to the application.

    def test_bodies_are_the_applications(self):
        created = base.HANDSTAMP.login()
        body = b"".join(b"line %d of what only the application may read\n" % i for i in range(5_000))
        for chunked in [False, True]:
            for method in ["POST", "PUT"]:
                with self.subTest(chunked=chunked, method=method):
                    answer = self.send(method, headers=cookie(created["token"]), body=body, chunked=chunked)
                    self.assertEqual(answer.status, 200, answer)
                    self.assertEqual(self.assert_told(created["session"]).body, body)
                    asked = self.running.tap.take()
                    self.assertIn(COOKIE.encode(), asked)
                    self.assertNotIn(b"only the application", asked)
        self.assert_refused(self.send("POST", headers=FETCH, body=b"small"), 401, "token_missing")
        self.assertNotIn(b"small", self.running.tap.take())

    def test_websockets(self):
        created = base.HANDSTAMP.login()
        status, echoed = upgrade(self.running.address, "/live?x=1", cookie(created["token"]))
        self.assertEqual((status, echoed), (101, b"is anybody there?"))
        self.assertEqual(self.assert_told(created["session"]).path, "/live?x=1")
        self.assertEqual(upgrade(self.running.address, "/live")[0], 401)
        self.assert_nothing_received()

    # The session as it goes on.

    def rotated(self, token):
        """Asks until the cookie is set with another token, which takes a second."""

        def asked():
            answer = self.send(headers=cookie(token))
            self.assertEqual(answer.status, 200, answer)
            new = new_token(answer)
            return new if new and new != token else None

        return wait_for("the browser is given a new token", asked)

    def test_rotation_reaches_the_browser(self):
        created = base.HANDSTAMP.login(tags=["case:rotates"])
        first = created["token"]
        second = self.rotated(first)
        # As long as nobody has shown that it has the new one, the old one is good, and brings the same one again.
        for _ in range(3):
            answer = self.send(headers=cookie(first))
            self.assertEqual((answer.status, new_token(answer)), (200, second), answer)
        self.running.upstream.take()
        answer = self.send(headers=cookie(second))
        self.assertEqual(answer.status, 200, answer)
        self.assert_told(created["session"], ["case:rotates"])

        # Now that it has been shown, the old one is somebody else's after the grace; and that ends the session.
        def reused():
            answer = self.send(headers=[*FETCH, *cookie(first)])
            return answer if answer.status != 200 else None

        answer = wait_for("the old token is refused", reused)
        self.assertEqual((answer.status, answer.code()), (401, "token_reused"), answer)
        self.assertEqual(self.send(headers=[*FETCH, *cookie(second)]).status, 401)

    def test_a_cookie_that_is_set_is_a_whole_one(self):
        token = base.HANDSTAMP.login(tags=["case:rotates"])["token"]

        def line():
            answer = self.send(headers=cookie(token))
            lines = [line for line in answer.all("Set-Cookie") if line.startswith(COOKIE)]
            self.assertLessEqual(len(lines), 1)
            return lines[0] if lines and token not in lines[0] else None

        parts = {part.split("=")[0] for part in wait_for("a cookie is set", line).split("; ")}
        self.assertEqual(parts, {COOKIE, "Path", "Max-Age", "HttpOnly", "SameSite", "Secure"})

    def test_a_browser_that_gets_no_cookies_stays_logged_in(self):
        created = base.HANDSTAMP.login(tags=["case:rotates"])
        self.rotated(created["token"])
        self.running.upstream.take()
        for _ in range(5):
            # Whatever came with the answers is lost.
            answer = self.send(headers=cookie(created["token"]))
            self.assertEqual(answer.status, 200, answer)
            self.assert_told(created["session"], ["case:rotates"])

    def test_budgets_are_told(self):
        token = base.HANDSTAMP.login(tags=["case:limited"])["token"]
        for left in ["2", "1", "0"]:
            answer = self.send(headers=cookie(token))
            self.assertEqual(answer.status, 200, answer)
            if self.proxy.tells_budgets:
                told = (answer.one("X-RateLimit-Limit"), answer.one("X-RateLimit-Remaining"))
                self.assertEqual(told, ("3", left))
                self.assertTrue(answer.one("X-RateLimit-Reset").isdigit())
        self.running.upstream.take()
        answer = self.send(headers=[*FETCH, *cookie(token)])
        self.assert_refused(answer, 429, "rate_limit_exceeded")
        self.assertEqual(answer.one("X-RateLimit-Remaining"), "0", answer)
        self.assertTrue(answer.one("Retry-After").isdigit(), answer)

    # The way to the login page.

    def test_who_is_on_the_way_to_a_page_is_sent_to_the_login(self):
        forged = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Uri", "/evil"), ("X-Forwarded-Proto", "ftp")]
        forged += [("X-Original-URL", "/evil"), ("X-Original-URI", "/evil"), ("X-Original-Host", "evil.example")]
        forged += [("X-Forwarded-Method", "POST"), ("X-Original-Method", "POST"), ("Forwarded", "host=evil.example")]
        for more in [[], cookie("hst_nonsense"), forged, *([one] for one in forged)]:
            with self.subTest(more=more):
                answer = self.send(target="/datasets?a=1&b=%2F+x", headers=[*NAVIGATION, ("Host", "app.example.org"), *more])
                self.assertEqual(answer.status, 302, answer)
                to = urlsplit(answer.one("Location"))
                self.assertEqual((to.scheme, to.netloc, to.path), ("", "", "/login"), answer)
                back = parse_qs(to.query, strict_parsing=True)["redirect_uri"]
                self.assertEqual(back, ["http://app.example.org/datasets?a=1&b=%2F+x"])
                self.assertEqual(answer.one("Cache-Control"), "no-store", answer)
                self.assert_nothing_received()

    def test_scripts_and_changes_are_told_instead(self):
        for method, headers in [("GET", FETCH), ("POST", NAVIGATION), ("GET", []), ("GET", [("Accept", "application/json")])]:
            with self.subTest(method=method, headers=headers):
                self.assert_refused(self.send(method, headers=headers), 401, "token_missing")

    def test_the_pages_own_calls_reach_handstamp(self):
        created = base.HANDSTAMP.login(tags=["case:fixed"], ip=CLIENT)
        lie = ("X-Forwarded-For", CLIENT)
        for headers, source, status in [
            ([], CLIENT, 401),
            (cookie(created["token"]), CLIENT, 200),
            (cookie(created["token"]), "127.0.0.10", 403),
            ([lie, *cookie(created["token"])], "127.0.0.10", 403),
        ]:
            with self.subTest(headers=headers, source=source):
                answer = self.send(target="/v1/auth/session", headers=[*FETCH, *headers], source=source)
                self.assertEqual(answer.status, status, answer)
                self.assertTrue(answer.one("X-Request-Id"), answer)
        self.assert_nothing_received()

    def test_the_whole_way_to_the_login_page(self):
        browser = [*NAVIGATION, ("Host", "app.example.org")]
        asked = self.send(target="/datasets?a=1", headers=browser)
        sent = self.send(target=asked.one("Location"), headers=browser)
        self.assertEqual(sent.status, 302, sent)
        self.assert_nothing_received()
        self.assertEqual(self.send(target=sent.one("Location"), headers=browser).status, 200)
        to = urlsplit(self.received().path)
        self.assertEqual(to.path, "/public/login")
        self.assertEqual(parse_qs(to.query)["redirect_uri"], ["http://app.example.org/datasets?a=1"])
        # Nobody is sent where the application does not say.
        refused = self.send(target="/login?redirect_uri=http%3A%2F%2Fevil.example%2F", headers=browser)
        self.assertEqual((refused.status, refused.one("Location")), (400, None), refused)


def of(proxy, only):
    kind = type(proxy.name, (Cases, unittest.TestCase), {"proxy": proxy, "__qualname__": proxy.name})
    names = unittest.defaultTestLoader.getTestCaseNames(kind)
    return unittest.TestSuite(kind(name) for name in names if only in name)
