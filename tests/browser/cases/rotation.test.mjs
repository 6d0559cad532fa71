// Tokens rotate every second, two tabs share one jar, and the network loses every third answer that brings a new one.
// Nobody may be logged out by that, and nobody may be called a thief.
import assert from "node:assert/strict";
import { test } from "node:test";
import { call, cookie, login, readable } from "../support/chromium.mjs";
import { send } from "../support/handstamp.mjs";
import { until } from "../support/wait.mjs";
import { world } from "../support/world.mjs";

const SESSION = "__Host-handstamp";
const GENERATIONS = 8;
const here = world({ config: '[policy.default]\nrotate_every = "1s"\n' });

/** Calls without a pause until `stop` is set; gives back every answer that was neither fine nor lost. */
const busy = (page) =>
  page.evaluate(async () => {
    const wrong = [];
    let [fine, lost] = [0, 0];
    window.stop = false;
    for (let turn = 0; !window.stop; turn += 1) {
      const unsafe = turn % 3 === 2;
      const path = unsafe ? "/v1/auth/session/refresh" : "/v1/auth/session";
      try {
        const answer = await fetch(path, { method: unsafe ? "POST" : "GET" });
        if (answer.ok) fine += 1;
        else wrong.push(`${path}: ${answer.status} ${await answer.text()}`);
      } catch {
        lost += 1;
      }
    }
    return { fine, lost, wrong };
  });

test("two tabs that rotate at once, with lost answers: no false theft, nobody logged out", { timeout: 120_000 }, async (t) => {
  const one = await here.tab("/");
  const id = await login(one, "ada");
  const two = await here.tab("/", one.context());
  const first = (await cookie(one.context(), SESSION)).value;
  let fresh = 0;
  const tokens = new Set();
  here.front.loses = (_, answer) => {
    const line = answer.headers["set-cookie"]?.find((line) => line.startsWith(`${SESSION}=hst_`));
    if (!line) return false;
    tokens.add(line.split(";")[0]);
    fresh += 1;
    return fresh % 3 === 1;
  };
  const work = [busy(one), busy(two)];
  await until(
    `${GENERATIONS} rotations`,
    async () => (await here.handstamp.session(id)).generation >= GENERATIONS && here.front.lost >= 3,
    60,
  );
  for (const page of [one, two]) await page.evaluate(() => (window.stop = true));
  const results = await Promise.all(work);
  here.front.loses = () => false;
  t.diagnostic(`${tokens.size} tokens, ${here.front.lost} answers lost, ${results.map(({ fine }) => fine).join(" + ")} fine`);

  assert.deepEqual(results.flatMap(({ wrong }) => wrong), []);
  assert.ok(results.every(({ fine }) => fine > GENERATIONS), "both tabs were at work");
  await here.handstamp.live(id);
  const types = (await here.handstamp.events(id)).map(({ type, code }) => code ?? type);
  assert.ok(!types.includes("token_reused"), types.join(" "));
  for (const page of [one, two]) assert.equal((await call(page, "GET", "/v1/auth/session")).status, 200);
  assert.notEqual((await cookie(one.context(), SESSION)).value, first);
});

test("an open page keeps its CSRF token over rotations", async () => {
  const page = await here.tab("/");
  const id = await login(page, "grace");
  const held = await readable(page); // as a page that was rendered long ago has it
  await until("a rotation", async () => {
    assert.equal((await call(page, "GET", "/v1/auth/session")).status, 200);
    return (await here.handstamp.session(id)).generation > 1;
  });
  const answer = await call(page, "POST", "/v1/auth/sessions/revoke-others", { "X-XSRF-TOKEN": held });
  assert.ok(answer.status < 300, answer.text);
});

test("a rotation that arrives after the logout brings nothing back", async () => {
  const one = await here.tab("/");
  const id = await login(one, "ada");
  const two = await here.tab("/", one.context());
  let release;
  const held = new Promise((arrived) => {
    here.front.holds = (_, answer) =>
      answer.headers["set-cookie"]?.some((line) => line.startsWith(`${SESSION}=hst_`)) &&
      new Promise((go) => arrived((release = go)));
  });
  const asking = until("an answer with a new token", async () => {
    const answer = await call(two, "GET", "/v1/auth/session");
    return release && answer;
  });
  await held;
  here.front.holds = () => false;
  const out = await call(one, "POST", "/v1/auth/logout", { "X-XSRF-TOKEN": await readable(one) });
  assert.equal(out.status, 204);
  assert.equal(await cookie(one.context(), SESSION), undefined);
  release();
  assert.equal((await asking).status, 200, "it was right when it was given");
  assert.match((await cookie(one.context(), SESSION)).value, /^hst_/, "the browser has the late cookie");
  for (const page of [one, two]) {
    const answer = await call(page, "GET", "/v1/auth/session");
    assert.deepEqual([answer.status, answer.body.code], [401, "session_revoked"]);
  }
  await here.handstamp.ended(id, "session_revoked");
});

const strict = world({ config: '[policy.default]\nrotate_every = "1s"\nrotation_grace = "1s"\n' });

test("the other side: a copied cookie that is used after the browser moved on ends the session", async () => {
  const page = await strict.tab("/");
  const id = await login(page, "eve");
  const copy = (await cookie(page.context(), SESSION)).value;
  const thief = () =>
    send(`https://localhost:${strict.front.port}/v1/auth/session`, {
      headers: { cookie: `${SESSION}=${copy}`, "user-agent": "copied" },
      ca: strict.handstamp.ca,
    });
  await until("the browser uses the second token", async () => {
    assert.equal((await call(page, "GET", "/v1/auth/session")).status, 200);
    return (await strict.handstamp.session(id)).generation >= 1;
  });
  const caught = await until("the grace is over", async () => {
    await call(page, "GET", "/v1/auth/session");
    const answer = await thief(); // within the grace it passes, or is told to take the token that the browser has by now
    return answer.status !== 200 && answer.body.code !== "token_superseded" && answer;
  });
  assert.deepEqual([caught.status, caught.body.code], [401, "token_reused"]);
  await strict.handstamp.ended(id, "token_reused");
  assert.equal((await call(page, "GET", "/v1/auth/session")).status, 401);
});
