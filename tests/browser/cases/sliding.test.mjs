// A session that lives 75 seconds from its last use, used for longer than that: the cookie must be sent again in time,
// and no more often than once a minute. This file takes as long as that says; the others run meanwhile.
import assert from "node:assert/strict";
import { test } from "node:test";
import { call, cookie, login } from "../support/chromium.mjs";
import { until } from "../support/wait.mjs";
import { world } from "../support/world.mjs";

const SESSION = "__Host-handstamp";
const here = world({ config: '[policy.default]\nidle_timeout = "75s"\nrotate_every = "never"\n' });

test("use extends the cookie, at most once a minute", { timeout: 150_000 }, async (t) => {
  const page = await here.tab("/");
  const id = await login(page, "ada");
  const begun = Date.now();
  const first = (await cookie(page.context(), SESSION)).expires * 1000;
  assert.ok(Math.abs(first - begun - 75_000) < 5000, "the cookie lives as long as the session");
  const use = async () => {
    const answer = await call(page, "GET", "/v1/auth/session");
    assert.equal(answer.status, 200, `after ${Date.now() - begun} ms: ${answer.text}`);
    return answer;
  };
  let uses = 0;
  await until("the first cookie's time is over", async () => {
    await use();
    uses += 1;
    return Date.now() > first + 1000;
  }, 100);

  const times = [begun, ...here.front.sent.filter(({ line }) => line.startsWith(`${SESSION}=`)).map(({ at }) => at)];
  t.diagnostic(`${uses} uses, sent again after ${times.slice(1).map((at) => at - begun).join(", ")} ms`);
  assert.ok(times.length >= 2, "it was sent again");
  for (const [n, at] of times.entries()) if (n > 1) assert.ok(at - times[n - 1] > 59_000, times.join(" "));
  assert.ok(times.length <= 3 && uses > 50, "at most once a minute");
  const known = await here.handstamp.session(id);
  assert.equal(known.state, "live");
  const kept = (await cookie(page.context(), SESSION)).expires * 1000;
  assert.ok(kept > first + 30_000 && kept <= Date.parse(known.expires_at) + 2000, "never longer than the session");
});
