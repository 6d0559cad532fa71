"""What JSON Schema cannot say of a request.

`before_call` makes it right in cases that are meant to be accepted, so that they go deep. `filter_failure` drops a failure
only if the answer itself says that it is for one of the reasons below, at one place of one call. Cases that are meant to be
refused are never touched, and none of their failures is dropped.
"""

import json
import re

import schemathesis
from hypothesis import strategies as st
from schemathesis.openapi.checks import RejectedPositiveData, UnsupportedMethodResponse

from world import World

# (calls, by operation id; where the refusal points to; what it says; why that is right though the schema allows it).
# Each is one sentence of one rule that JSON Schema has no words for.
REASONS = [
    (
        r"replace_policy|preview_policy",
        r"(/policy)?/(default|tag/[^/]+)/[a-z_]+",
        r"^\S+ is out of range: choose between ",
        "a pattern does not add up the units of a duration",
    ),
    (
        r"replace_policy|preview_policy",
        r"(/policy)?/(default|tag/[^/]+)/(absolute|idle|refresh)_timeout",
        r"is above preset aal[123]",
        "what a preset allows hangs on another member",
    ),
    (
        r"replace_policy|preview_policy",
        r"(/policy)?/(default|tag/[^/]+)/ip_allow",
        r"can let nobody pass",
        "two lists of networks that are compared",
    ),
    (
        r"replace_cors|replace_redirect_origins|exchange_login",
        r"/origins?(/\d+)?",
        r"names the usual port|^`https?://[^`/]{254,}` is not an origin",
        "no usual port, and a host of at most 253 bytes: a pattern with both says more than it explains",
    ),
    (r"login|create_session", r"code", r"^redirect_not_allowed$", "a schema does not know which origins are listed"),
    (r"exchange_login", r"code", r"^login_code_invalid$", "nor which codes were given"),
    (r"put_session_type", r"/(refresh_)?expires_in", r"is out of range: choose between ", "a pattern does not add up the units"),
    (r"update_key", r"/(scopes|rate_limit)", r"^a publishable key has no ", "a change does not say which kind of key it meets"),
    (r"create_session|update_session", r"/auth/at", r"^lies in the future$|^is longer ago than ", "a schema has no clock"),
    (
        r"create_session|refresh_session|mint_access_token",
        r"(/access_token)?/not_before",
        r"^at most a day from now$|^is not before the end of the session$",
        "a schema has no clock, and does not know the session",
    ),
    (
        r"create_session|refresh_session|mint_access_token",
        r"(/access_token)?/claims",
        r"^at most \d+ bytes as JSON|^a JSON object with each member once, at most 16 deep$",
        "a schema counts neither bytes nor depth",
    ),
    (r"create_session", r"/access_token", r"^not together with `login`", "two members, one of which is an object of its own"),
    (r"revocations", r"after|Last-Event-ID", r"only a stream goes on after a position", "what is asked for is in another header"),
    (
        r"rotate_signing_key",
        r"/(activate_in|retire_in)",
        r"^an emergency has no delays|^at least \d+ seconds: under the policy in force",
        "what delays may be hangs on another member, and on the policy",
    ),
    (r"rotate_signing_key", r"/algorithm", r"^a data key is for A256GCM", "hangs on another member"),
    (r"run_command", r"ConflictingMetadataOptions", r"", "two members that may not both be there"),
    (r"run_command", r"/data/filter", r"^an empty filter would name everybody", "which members may not all be null hangs on each other"),
    (
        r"run_command",
        r"/data/notBeforeUnixtime",
        r"^at most a day from now$|^is not before the end of the session$",
        "a schema has no clock, and does not know the session",
    ),
    (
        r"run_command",
        r"/data/customClaims",
        r"^at most \d+ bytes as JSON|^a JSON object with each member once, at most 16 deep$",
        "a schema counts neither bytes nor depth",
    ),
    (
        r"run_command",
        r"invalid_request",
        r"^the keys that there are (would end before the new one begins|end after \d+ seconds at the earliest)",
        "what delays may be hangs on each other, and on the policy",
    ),
    (r"run_command", r"except_invalid", r"", "a schema does not know the sessions"),
    (r"update_session", r"/auth/at", r"^is before the last authentication of the session$", "nor what the session has seen"),
]

# What a session type may say of data is a language of its own (JSON Schema and a short form): one of these stands for it.
SCHEMAS = [
    {"userId": "string", "cart": "string[]"},
    {"nick?": "any", "address": {"city": "string?"}},
    {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]},
    {"$comment": "a list", "type": "array", "items": {"enum": [1, "two", None]}, "maxItems": 3},
]

BACK = "https://app.example.org/data"
COOKIE, CSRF = "__Host-handstamp", "X-XSRF-TOKEN"
DAY = 86_400_000
UNITS = (("d", DAY), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


def spell(milliseconds):
    """`90061000` as `1d1h1m1s`."""
    said = ""
    for unit, size in UNITS:
        count, milliseconds = divmod(milliseconds, size)
        if count:
            said += f"{count}{unit}"
    return said


def network(number, bits):
    number &= ~((1 << (32 - bits)) - 1)
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0)) + f"/{bits}"


durations = st.one_of(st.integers(1_000, 3_660 * DAY), st.integers(1, 3_660).map(lambda days: days * DAY)).map(spell)
durations_of_a_day = st.integers(1_000, DAY).map(spell)
networks = st.one_of(st.ip_addresses().map(str), st.builds(network, st.integers(0, 2**32 - 1), st.integers(1, 32)))
rates = st.builds(lambda n, span: f"{n}/{span}", st.integers(1, 10**6), durations_of_a_day)
schemathesis.openapi.format("handstamp-duration", durations)
schemathesis.openapi.format("handstamp-duration-of-a-day", durations_of_a_day)
schemathesis.openapi.format("handstamp-network", networks)
schemathesis.openapi.format("handstamp-rate", rates)


def positive(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


world = World()


@schemathesis.hook
def before_call(ctx, case, kwargs):
    if case.path.startswith(("/v1/auth/", "/v1/forward-auth", "/login")):
        visit(case)
    if case.path == "/v1/forward-auth":
        visit(case)
        # Without a key it can be asked on the listener for proxies only.
        case.headers["X-Handstamp-Key"] = world.key
    if not positive(case):
        return
    place(case)
    # A cursor is given by the page before; any other is refused.
    if case.query:
        case.query.pop("cursor", None)
    # One or the other may be sent: a parameter does not know of another.
    if case.headers and "If-Match" in case.headers:
        case.headers.pop("If-None-Match", None)
        # Schemathesis has an idea of its own of this header, whatever the document says: an empty one, weak tags, lists.
        if not re.fullmatch(r'\*|"[0-9]{1,19}"', case.headers["If-Match"]):
            case.headers["If-Match"] = '"3"'
    case.body = plain(case.body)
    if not isinstance(case.body, dict):
        return
    name = case.operation.definition.raw["operationId"]
    # It may be left out for a session whose type says where in the data the user is named.
    if name == "create_session":
        case.body.setdefault("user_id", "ada")
    if name == "put_session_type" and isinstance(case.body.get("schema"), dict):
        case.body["schema"] = SCHEMAS[len(case.body["schema"]) % len(SCHEMAS)]


def visit(case):
    """Has a browser of its own make the call: one that is logged in where the case has not taken that away."""
    visitor = world.visitor()
    if (case.cookies or {}).get(COOKIE) == "the-session":
        case.cookies[COOKIE] = visitor["token"]
        # One in four is passed on by the application's own server, which needs no CSRF token.
        if one_in_four(visitor["ip"]):
            case.headers.pop(CSRF, None)
            case.headers["X-Handstamp-Key"] = world.key
    if (case.headers or {}).get(CSRF) == "its-token":
        case.headers[CSRF] = visitor["csrf_token"]
    # From an address of its own: the others have not used up its budget.
    case.headers["X-Forwarded-For"] = visitor["ip"]


def login(case):
    """Leads back to a page that a login may lead back to."""
    if isinstance(case.body, dict) and isinstance(case.body.get("login"), dict):
        case.body["login"] = {**case.body["login"], "redirect_uri": BACK}


def one_in_four(text):
    return sum(text.encode()) % 4 == 0


def place(case):
    """Gives a case something that there is to be about."""
    if case.meta.phase.name == "stateful":
        return  # has what the calls before it have made
    name = case.operation.definition.raw["operationId"]
    id = (case.path_parameters or {}).get("id", "")
    if case.path == "/v1/auth/sessions/{id}" and not one_in_four(id):
        case.path_parameters["id"] = world.visitor()["id"]
    elif "/sessions/{id}" in case.path and not one_in_four(id):
        case.path_parameters["id"] = world.session()["session"]["id"]
        if case.query:
            case.query.pop("user_id", None)  # "only if it is this user's"
    elif name == "get_user" and not one_in_four(id):
        case.path_parameters["id"] = world.session()["session"]["user_id"]
    elif "/devices/{id}" in case.path and not one_in_four(id):
        case.path_parameters["id"] = world.device()
        case.query["user_id"] = "ada"
    elif name == "create_session" and case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = world.another(case.headers["Idempotency-Key"])
        login(case)
    elif name == "create_session":
        login(case)
    elif name == "login" and not one_in_four(case.query["redirect_uri"]):
        case.query["redirect_uri"] = BACK
    elif name == "exchange_login" and isinstance(case.body, dict) and not one_in_four(case.body["code"]):
        case.body = world.login_code(BACK)
    elif name in ("replace_policy", "replace_cors", "replace_redirect_origins") and case.headers and not one_in_four(case.headers.get("If-Match", "")):
        case.headers["If-Match"] = "*"
    elif name == "put_session_type" and case.headers and not one_in_four(case.path_parameters["name"]):
        case.headers.pop("If-Match", None)
        case.headers.pop("If-None-Match", None)
    elif name == "refresh_session" and isinstance(case.body, dict) and not one_in_four(str(case.body.get("refresh_token"))):
        case.body = {**case.body, "refresh_token": world.refresh_token()}
    elif name == "run_command" and isinstance(case.body, dict) and isinstance(case.body.get("data"), dict):
        command(case.body["command"], case.body["data"])
    elif name == "register_device" and isinstance(case.body, dict):
        case.body = case.body | world.registration()
        case.body.pop("session_id", None)


def command(name, data):
    """A session that there is, three times of four; a device that registers on it."""
    if name == "RegisterDevice" and not one_in_four(str(data)):
        sent = world.registration()
        data["sessionToken"], data["sessionId"], data["signedDeviceChallenge"] = sent["token"], None, sent["device"]["proof"]
        data["requestMethod"], data["requestUrl"] = sent["method"], sent["url"]
        return
    for name in ("sessionId", "sessionToken", "sessionTokenToKeep"):
        if isinstance(data.get(name), str) and not one_in_four(data[name]):
            made = world.session()
            data[name] = made["session"]["id"] if name == "sessionId" else made["token"]
            if name == "sessionTokenToKeep":
                data["userId"], data["sessionTags"] = "ada", None


@schemathesis.hook
def after_call(ctx, case, response):
    if case.operation.definition.raw["operationId"] in ("replace_policy", "roll_back_policy") and response.status_code == 200:
        world.relax()


def plain(value):
    """JSON Schema takes 3600.0 for a whole number; the server wants its digits."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@schemathesis.hook
def filter_failure(ctx, failure, case, response):
    # A verdict is asked for with whatever method the client of a proxy used.
    if isinstance(failure, UnsupportedMethodResponse) and case.path == "/v1/forward-auth":
        return False
    if not isinstance(failure, RejectedPositiveData):
        return True
    try:
        problem = response.json()
    except ValueError:
        return True
    said = [(one["pointer"], one["message"]) for one in problem.get("errors", [])]
    said = said or [told(problem) if case.path == "/run-command" else ("code", problem.get("code", ""))]
    name = case.operation.definition.raw["operationId"]
    sent = json.dumps([case.path_parameters, case.query, case.body], ensure_ascii=False, default=str)
    return not all(excused(name, not sent.isascii(), pointer, message) for pointer, message in said)


def told(failure):
    """Place and sentence of a failure at the foreign door: `code: place: sentence`, or a type that says it all."""
    details = failure.get("details", "")
    if isinstance(details, dict):  # of a text that is no tag: it is repeated
        bytes = max(len(text.partition(":")[2].encode()) for text in details.values())
        return failure["type"], f"1 to 128 bytes: this has {bytes}" if bytes > 128 else json.dumps(details)
    code, _, rest = details.partition(": ")
    place, _, sentence = rest.partition(": ")
    return (place, sentence) if place.startswith("/") else (code or failure["type"], rest)


def excused(name, wide, pointer, message):
    """Whether one of the reasons is this slip's."""
    # JSON Schema counts characters where these rules count bytes: not the same once there are other letters than ASCII.
    if wide and re.search(r"\b(1 to|at most) \d+ bytes", message):
        return True
    return any(
        re.fullmatch(call, name) and re.fullmatch(place, pointer) and re.search(text, message)
        for call, place, text, _ in REASONS
    )
