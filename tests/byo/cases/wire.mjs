// How requests may look: whatever the published clients send is taken, and what none of them sends is told by name.
import assert from "node:assert/strict";
import http from "node:http";
import { post } from "../support/clients.mjs";
import { near, now } from "../support/world.mjs";

const auth = (w) => ({ authorization: `Bearer ${w.key}` });
/** A body as it is, over the wire that is watched. */
async function send(w, body, headers = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await post(w.relay.url, text, { ...auth(w), ...headers });
  return { ...answer, body: JSON.parse(answer.text) };
}
async function refused(w, body, status, details, headers) {
  const answer = await send(w, body, headers);
  const what = `${JSON.stringify(body).slice(0, 200)}: ${answer.status} ${answer.text}`;
  assert.equal(answer.status, status, what);
  assert.equal(answer.body.type, "UnexpectedError", what);
  assert.match(answer.body.details, details, what);
}

export const cases = [
  [
    "either order, no data, null for data",
    async (w) => {
      for (const body of [
        '{"command":"Ping","data":{}}',
        '{"data":{},"command":"Ping"}',
        '{"command":"Ping"}',
        '{"command":"Ping","data":null}',
        ' \n{ "data" : { } ,\t"command" : "Ping" } ',
      ]) {
        const { status, body: said } = await send(w, body);
        assert.equal(status, 200, body);
        near(said.timestamp, now());
      }
      const userId = w.user();
      const { status, body } = await send(w, `{"data":{"metadata":{"z":null,"a":1},"userId":"${userId}"},"command":"CreateSession"}`);
      assert.equal(status, 200);
      assert.deepEqual((await w.server.session(body.sessionId)).data, { z: null, a: 1 });
    },
  ],
  [
    "null is absent, also of members that nobody knows",
    async (w) => {
      const { sessionToken } = await w.session();
      for (const data of [
        { sessionToken, unknown: null },
        { sessionToken, deviceVerification: null, requiredTags: null },
      ])
        assert.equal((await send(w, { command: "ValidateSession", data })).status, 200);
      await refused(w, { command: "CreateSession", data: { userId: null } }, 400, /^invalid_request: \/data\/userId: is missing/);
      await refused(w, { command: "FetchSessionById", data: null }, 400, /^invalid_request: \/data\/sessionId: is missing/);
      await refused(w, { command: "RegisterDevice", data: { signedDeviceChallenge: "a.b.c", rememberDevice: null } }, 400, /^invalid_request: \/data\/rememberDevice: is missing/);
    },
  ],
  [
    "members that nobody knows are named, at each level",
    async (w) => {
      const { sessionId, sessionToken, own } = await w.session();
      for (const [body, place] of [
        [{ command: "Ping", data: { now: true } }, "/data/now"],
        [{ command: "Ping", data: {}, version: 2 }, "/version"],
        [{ command: "CreateSession", data: { userId: "u", user: "u" } }, "/data/user"],
        [{ command: "UpdateSession", data: { sessionId, tags: [] } }, "/data/tags"],
        [{ command: "UpdateSessions", data: { filter: { userId: own.user_id, tags: [] } } }, "/data/filter/tags"],
        [{ command: "ValidateSession", data: { sessionToken, deviceVerification: { signedDeviceChallenge: "a.b.c", nonce: "x" } } }, "/data/deviceVerification/nonce"],
        [{ command: "CreateSession", data: { userId: "u", deviceRegistration: { signedDeviceChallenge: "a.b.c", nonce: "x" } } }, "/data/deviceRegistration/nonce"],
      ])
        await refused(w, body, 400, new RegExp(`^invalid_request: ${place}: `));
      assert.deepEqual((await w.server.session(sessionId)).tags, []);
    },
  ],
  [
    "values of another kind are named",
    async (w) => {
      for (const [command, data, place] of [
        ["CreateSession", { userId: 7 }, "/data/userId"],
        ["CreateSession", { userId: "u", tags: "a:b" }, "/data/tags"],
        ["CreateSession", { userId: "u", tags: [1] }, "/data/tags/0"],
        ["CreateSession", { userId: "u", deviceRegistration: "a.b.c" }, "/data/deviceRegistration"],
        ["ValidateSession", { sessionToken: 7 }, "/data/sessionToken"],
        ["ValidateSession", { ignoreDeviceForVerification: "yes" }, "/data/ignoreDeviceForVerification"],
        ["FetchAllSessions", { page: "1" }, "/data/page"],
        ["UpdateSessions", { filter: [] }, "/data/filter"],
        ["UpdateSessions", {}, "/data/filter"],
        ["RotateStatelessTokenKey", { secsBeforeNewKeyBecomesDefault: "0", secsBeforeExistingKeysAreDeactivated: 0 }, "/data/secsBeforeNewKeyBecomesDefault"],
        ["Ping", [], "/data"],
        ["Ping", "x", "/data"],
      ])
        await refused(w, { command, data }, 400, new RegExp(`^invalid_request: ${place}: `));
    },
  ],
  [
    "commands that are none, or of another part of their product",
    async (w) => {
      for (const command of ["Nothing", "", "ping", "CreateImpersonationSession", "StartPasskeyRegistration", "ScimRequest", "CompleteOidcLogin"])
        await refused(w, { command, data: {} }, 400, /^invalid_request: \/command: /);
      await refused(w, { data: {} }, 400, /^invalid_request: \/command: is missing/);
      await refused(w, { command: 7 }, 400, /^invalid_request: \/command: /);
    },
  ],
  [
    "bodies that are none",
    async (w) => {
      for (const body of ["", "{", "null", "[]", '"Ping"', '{"command":"Ping"}{}', '{"command":"Ping","command":"Ping"}', "\u0000"])
        await refused(w, body, 400, /^\w+: \S/);
      await refused(w, { command: "Ping", data: {}, padding: "x".repeat(70_000) }, 413, /^body_too_large: /);
      await refused(w, { command: "Ping" }, 415, /^unsupported_media_type: /, { "content-type": "text/plain" });
      await refused(w, { command: "Ping" }, 415, /^unsupported_media_type: /, { "content-type": undefined });
      assert.equal((await send(w, { command: "Ping" }, { "content-type": "application/json; charset=utf-8" })).status, 200);
    },
  ],
  [
    "without a key, and with two",
    async (w) => {
      const body = { command: "Ping", data: {} };
      await refused(w, body, 401, /^access_key_missing: \S.*\(NoIntegrationKeyFoundInHeader\)$/, { authorization: undefined });
      await refused(w, body, 401, /^access_key_\w+: \S.*\(\w+\)$/, { authorization: "Basic YTpi" });
      await refused(w, body, 401, /^access_key_\w+: \S.*\(\w+\)$/, { authorization: [`Bearer ${w.key}`, `Bearer ${w.key}`] });
      await refused(w, "no JSON", 401, /^access_key_missing: /, { authorization: undefined });
      assert.equal((await send(w, body, { authorization: `bearer ${w.key}` })).status, 200);
    },
  ],
  [
    "an offer of HTTP/2 is not taken up, and a body in chunks is read",
    async (w) => {
      const h2c = { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AAMAAABkAAQCAAAAAAIAAAAA" };
      for (const headers of [h2c, { "content-length": undefined, "transfer-encoding": "chunked" }]) {
        const { status, headers: answered } = await send(w, { command: "Ping", data: {} }, headers);
        assert.equal(status, 200);
        assert.equal(answered.upgrade, undefined);
      }
      assert.ok(w.relay.exchanges.at(-2).request.headers["http2-settings"], "it went over the wire");
    },
  ],
  [
    "connections: as the client likes",
    async (w) => {
      const before = w.relay.connections;
      for (let call = 0; call < 20; call++) await w.good("ping", {});
      const used = w.relay.connections - before;
      if (w.client.name.startsWith("npm")) assert.ok(used <= 3, `fetch keeps its connection, and used ${used}`);
      else assert.equal(used, 20, "one for each call");
      // Twenty on one.
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const first = w.relay.connections;
      for (let call = 0; call < 20; call++) {
        const status = await new Promise((good, bad) => {
          const headers = { ...auth(w), "content-type": "application/json" };
          const asked = http.request(new URL("/run-command", w.relay.url), { method: "POST", agent, headers }, (answer) =>
            answer.resume().on("end", () => good(answer.statusCode)),
          );
          asked.on("error", bad);
          asked.end('{"command":"Ping","data":{}}');
        });
        assert.equal(status, 200);
      }
      agent.destroy();
      assert.equal(w.relay.connections - first, 1);
    },
  ],
  [
    "an address with a slash at its end",
    async (w) => {
      if (w.client.name === "strict") return;
      const said = await w.client.call("ping", {}, `${w.relay.url}/`, w.key);
      assert.equal(said.ok, true);
    },
  ],
  [
    "answers are nobody's to keep, and set no cookie",
    async (w) => {
      const { wire } = await w.call("session.create", { userId: w.user() });
      assert.match(wire.answer.headers["cache-control"] ?? "", /no-store/);
      assert.equal(wire.answer.headers["set-cookie"], undefined);
      assert.ok(wire.answer.headers["x-request-id"]);
    },
  ],
  [
    "other methods and addresses are none of this",
    async (w) => {
      for (const [method, path, status] of [
        ["GET", "/run-command", 405],
        ["PUT", "/run-command", 405],
        ["POST", "/run-command/", 404],
        ["POST", "/Run-Command", 404],
      ]) {
        const answer = await post(w.server.url, '{"command":"Ping","data":{}}', auth(w), path, method);
        assert.equal(answer.status, status, `${method} ${path}`);
      }
    },
  ],
];
