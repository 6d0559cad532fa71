"""Runs the published Python client for the tests: one question a line, as JSON, and one answer a line.

The client's own answers are objects; they go back as JSON with the names of the wire, and nothing else done to them.
"""

import asyncio
import dataclasses
import inspect
import json
import os
import re
import sys

import jwt
from propelauth_byo import create_client, is_ok
from propelauth_byo.generated.device_registration import DeviceRegistration
from propelauth_byo.generated.device_verification import DeviceVerification
from propelauth_byo.generated.sessions_filter import SessionsFilter

OBJECTS = {
    "device_registration": DeviceRegistration,
    "device_verification": DeviceVerification,
    "filter": SessionsFilter,
}
# Names of the wire that are not in camelCase.
ODD = {"invalid_tag_format": "InvalidTagFormat"}
# The client prints what goes wrong, to where the answers would go.
answers = os.fdopen(os.dup(1), "w")
sys.stdout = sys.stderr


def snake(name):
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)


def camel(name):
    return ODD.get(name) or re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def arguments(data):
    def one(name, value):
        made = OBJECTS.get(name)
        return made(**arguments(value)) if made and value is not None else value

    return {snake(name): one(snake(name), value) for name, value in data.items()}


def told(value):
    """An absent member is None in the client."""
    if dataclasses.is_dataclass(value):
        members = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {camel(name): told(inner) for name, inner in members if inner is not None}
    if isinstance(value, list):
        return [told(one) for one in value]
    return value


def parts(client):
    return {"": client, "session.": client.session, "session.device.": client.session.device}


def methods():
    client = create_client(url="http://127.0.0.1:1", integration_key="none")
    for prefix, part in parts(client).items():
        for name, _ in inspect.getmembers(part, inspect.iscoroutinefunction):
            if not name.startswith("_"):
                yield prefix + camel(name)


async def call(ask):
    client = create_client(url=ask["url"], integration_key=ask["key"])
    prefix, _, name = ask["path"].rpartition(".")
    part = parts(client)[prefix + "." if prefix else ""]
    try:
        result = await getattr(part, snake(name))(**arguments(ask["data"]))
    except Exception as error:  # what the client throws is what the test is about
        return {"raised": f"{type(error).__name__}: {error}"}
    if is_ok(result):
        return {"ok": True, "data": told(result.data)}
    return {"ok": False, "error": told(result.error)}


def verify(ask):
    try:
        kid = jwt.get_unverified_header(ask["token"])["kid"]
        key = next(jwt.PyJWK(one) for one in ask["jwks"]["keys"] if one["kid"] == kid)
        more = {"audience": ask["audience"], "issuer": ask["issuer"]}
        return {"claims": jwt.decode(ask["token"], key, algorithms=["RS256"], **more)}
    except (jwt.PyJWTError, StopIteration) as error:
        return {"refused": f"{type(error).__name__}: {error}"}


async def main():
    verbs = {"methods": lambda _: {"methods": list(methods())}, "verify": verify}
    for line in sys.stdin:
        ask = json.loads(line)
        answer = await call(ask) if ask["do"] == "call" else verbs[ask["do"]](ask)
        print(json.dumps(answer), file=answers, flush=True)


asyncio.run(main())
