"""What two nodes must show, whoever described them: they answer as one."""

import http.client
import json
import time

# A session that was ended anywhere is refused everywhere within this, or the node says that it does not know.
BOUND = 1.0


class Answer:
    def __init__(self, status, body):
        self.status, self.body = status, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


def ask(address, method, path, key=None, body=None, port=7411, timeout=10):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    finally:
        connection.close()


def status(address, path, port=7411):
    """The status alone; None where nobody answers."""
    try:
        return ask(address, "GET", path, port=port, timeout=3).status
    except OSError:
        return None


class Together:
    """Cases of a class that has `nodes`, `key` and, in front of the nodes, `front`."""

    def create(self, address, user="ada"):
        answer = ask(address, "POST", "/v1/sessions", self.key, {"user_id": user})
        self.assertEqual(answer.status, 201, answer)
        return answer.json()["token"]

    def verdict(self, address, token):
        answer = ask(address, "POST", "/v1/sessions/validate", self.key, {"token": token})
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    def revoke(self, address, token):
        answer = ask(address, "POST", "/v1/sessions/revoke", self.key, {"token": token})
        self.assertEqual((answer.status, answer.json().get("ended")), (200, 1), answer)

    def test_made_on_one_valid_on_the_other_ended_on_one_refused_on_the_other(self):
        for one, other in (self.nodes, self.nodes[::-1]):
            token = self.create(one.address)
            # Twice: the second answer comes from the memory of the node.
            for _ in range(2):
                self.assertTrue(self.verdict(other.address, token)["valid"])
            self.revoke(one.address, token)
            ended = time.monotonic()
            while True:
                asked = time.monotonic()
                verdict = self.verdict(other.address, token)
                if not verdict["valid"]:
                    break
                self.assertLess(asked - ended, BOUND, f"{other.name} still lets a session pass that ended on {one.name}")
            self.assertEqual(verdict["code"], "session_revoked")
            self.assertEqual(self.verdict(one.address, token)["code"], "session_revoked")

    def test_the_key_that_was_given_opens_and_another_one_does_not(self):
        for node in self.nodes:
            answer = ask(node.address, "POST", "/v1/sessions", self.key[:-8] + "00000000", {"user_id": "eve"})
            self.assertEqual(answer.status, 401, answer)
            self.assertNotIn(self.key, node.said())

    def test_metrics_have_a_listener_of_their_own(self):
        for node in self.nodes:
            page = ask(node.address, "GET", "/metrics", port=7413)
            self.assertEqual(page.status, 200, page)
            self.assertIn("handstamp_store_up 1", page.body)
            self.assertEqual(status(node.address, "/metrics"), 404)
