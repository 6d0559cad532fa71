// An app without a backend, in a browser of another site: a publishable key and the session's token in headers, which the
// page itself keeps. No cookie goes either way, and no CSRF token is needed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { call, readable } from "../support/chromium.mjs";
import { API, OTHER } from "../support/handstamp.mjs";
import { until } from "../support/wait.mjs";
import { origins, world } from "../support/world.mjs";

const here = world({ config: `${origins(OTHER)}[policy.default]\nrotate_every = "1s"\n` });

/** What the app got from whoever made its session: the token, and the key that everybody has. */
async function app(user_id) {
  const page = await here.tab(OTHER);
  const { secret: publishable } = await here.handstamp.api("POST", "/v1/keys", { name: "app", kind: "publishable" });
  const made = await here.handstamp.api("POST", "/v1/sessions", { user_id });
  const own = { page, id: made.session.id, token: made.token };
  own.call = async (method, path, headers = {}, more = {}) => {
    const both = { "X-Publishable-Key": publishable, Session: own.token, ...headers };
    const answer = await call(page, method, `${API}${path}`, both, { credentials: "omit", ...more });
    own.token = answer.body?.rotated_token ?? own.token;
    return answer;
  };
  return own;
}

test("session, ping, refresh, own sessions, logout, over a preflight and without a cookie", async () => {
  const ada = await app("ada");
  const phone = await app("ada");
  const session = await ada.call("GET", "/v1/auth/session");
  assert.deepEqual([session.status, session.body?.session.id], [200, ada.id], JSON.stringify(session));
  assert.equal((await ada.call("GET", "/v1/auth/session/ping")).status, 204);
  assert.equal((await ada.call("POST", "/v1/auth/session/refresh")).status, 200);
  const list = await ada.call("GET", "/v1/auth/sessions");
  assert.deepEqual(list.body.items.map((one) => one.id).toSorted(), [ada.id, phone.id].toSorted());
  assert.deepEqual((await ada.call("DELETE", `/v1/auth/sessions/${phone.id}`)).body, { ended: 1 });
  await here.handstamp.ended(phone.id, "session_revoked");
  assert.equal((await ada.call("POST", "/v1/auth/logout")).status, 204);
  await here.handstamp.ended(ada.id, "session_revoked");
  assert.deepEqual(await ada.page.context().cookies(), []);
  assert.equal(await readable(ada.page), null);
});

test("the successor comes in the answer, and the app goes on with it", async () => {
  const ada = await app("ada");
  const first = ada.token;
  await until("three rotations", async () => {
    const answer = await ada.call("GET", "/v1/auth/session");
    assert.equal(answer.status, 200, answer.text);
    return (await here.handstamp.session(ada.id)).generation >= 3;
  });
  assert.notEqual(ada.token, first);
  await here.handstamp.live(ada.id);
});

test("without a session, with the wrong kind of key, and for what is not the app's to do", async () => {
  const ada = await app("ada");
  const codes = async (...how) => {
    const { status, body } = await ada.call(...how);
    return [status, body?.code];
  };
  assert.deepEqual(await codes("GET", "/v1/auth/session", { Session: "" }), [401, "token_missing"]);
  assert.deepEqual(await codes("GET", "/v1/auth/session", { "X-Publishable-Key": "hsp_no" }), [401, "access_key_invalid"]);
  // The management API speaks to no page: what it says cannot be read from another origin, whatever it is.
  assert.ok((await ada.call("GET", "/v1/sessions")).failed);
  await here.handstamp.live(ada.id);
});
