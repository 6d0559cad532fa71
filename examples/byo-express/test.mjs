// The whole story over HTTP: the real Handstamp, the real sites, and browsers with a cookie jar. What the server did
// is asked over its own API, beside the published client.
import assert from "node:assert/strict";
import { env, execPath } from "node:process";
import { after, before, test } from "node:test";
import { DEADLINE_MS, Handstamp, Server, here } from "./testing.mjs";

const SESSION = "__Host-session";
const ALICE = { username: "alice", password: "down the rabbit hole" };
const BOB = { username: "bob", password: "can we fix it" };

/** Rotation often enough to be seen here, and rules for bob's role; all else as delivered. */
const POLICY = `
[policy.default]
rotate_every = "1s"

[policy.tag."role:admin"]
ip_allow = ["203.0.113.0/24"]
max_sessions = 2
on_limit = "reject"
`;
const OFFICE = "203.0.113.7";
const ELSEWHERE = "198.51.100.9";

/** A browser as far as these sites need one: it keeps cookies, follows redirects, names itself and has an address. */
class Browser {
  cookies = new Map();
  lines = []; // every Set-Cookie line seen
  constructor(agent, address = OFFICE, at = site) {
    Object.assign(this, { agent, address, at });
  }

  get token() {
    return this.cookies.get(SESSION);
  }
  get = (path) => this.#go("GET", path);
  post = (path, form = {}, headers) => this.#go("POST", path, new URLSearchParams(form), headers);
  login = (user) => this.post("/login", user);
  /** Whoever copied the cookies. */
  copiedTo(agent, address = this.address) {
    const thief = new Browser(agent, address, this.at);
    thief.cookies = new Map(this.cookies);
    return thief;
  }

  async #go(method, path, body, headers = { origin: this.at.url }) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(new URL(path, this.at.url), {
      method,
      body,
      redirect: "manual",
      headers: {
        "user-agent": this.agent,
        "x-forwarded-for": this.address,
        ...(cookie && { cookie }),
        ...(method === "POST" && headers),
      },
    });
    for (const line of response.headers.getSetCookie()) {
      this.lines.push(line);
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      if (/;\s*max-age=0\b/i.test(line)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    if (response.status === 303) return this.#go("GET", response.headers.get("location"));
    return { status: response.status, headers: response.headers, text: await response.text() };
  }
}

const LAPTOP = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";

let handstamp, site, quickstart, own;

/** The session of a token, also when it has ended; the look leaves no trace in it. */
async function recordOf(token) {
  const verdict = await own("/v1/sessions/validate", { token, touch: false });
  return own(`/v1/sessions/${verdict.session?.id ?? verdict.session_id}`);
}
const liveOf = async (user) => (await own(`/v1/sessions?user_id=${user}&state=live&limit=100`)).items;

const aSite = (script, more) =>
  new Server(
    execPath,
    [script],
    { cwd: here, env: { PATH: env.PATH, PORT: "0", TRUSTED_PROXIES: "loopback", HANDSTAMP_URL: handstamp.url, ...more } },
    /the site is on (http:\/\/localhost:\d+)/,
  );

before(async () => {
  handstamp = await Handstamp.started(POLICY);
  own = (path, body) => handstamp.own(path, body);
  // The sites get a key that may no more than they need.
  const { secret } = await own("/v1/keys", { name: "the sites", scopes: ["sessions:read", "sessions:write"] });
  [site, quickstart] = ["server.js", "quickstart.js"].map((script) => aSite(script, { HANDSTAMP_KEY: secret }));
  for (const each of [site, quickstart]) {
    await each.start();
    each.url = each.url.replace("localhost", "127.0.0.1"); // where it listens, however this machine resolves names
  }
});

after(async () => {
  await site?.stop("SIGTERM");
  await quickstart?.stop("SIGTERM");
  await handstamp?.end();
});

function assertLoggedIn(page, user) {
  assert.equal(page.status, 200, page.text);
  assert.ok(page.text.includes(`<dd id="user">${user}</dd>`), page.text);
}

/** Refused with a sentence for its visitor, and without the server's own words. */
function assertRefused(page, sentence) {
  assert.equal(page.status, 401, page.text);
  assert.ok(page.text.includes(sentence), `expected "${sentence}" in ${page.text}`);
  assert.ok(page.text.includes('action="/login"'), "a refused visitor can log in again");
  assert.ok(!page.text.includes('id="user"'));
  assert.doesNotMatch(page.text, /(session|token|user_agent|ip)_[a-z]+/, "codes are for the log");
}

const REVOKED = "You were logged out, here or from another device.";

for (const [name, at] of [["the quick start", () => quickstart], ["the site", () => site]])
  test(`${name}: a login, a protected page, a logout`, async () => {
    const laptop = new Browser(LAPTOP, OFFICE, at());
    assertRefused(await laptop.get("/account"), "You are not logged in.");
    assert.equal((await laptop.login({ ...ALICE, password: "guess" })).status, 401);
    assert.equal(laptop.cookies.size, 0);

    assertLoggedIn(await laptop.login(ALICE), "alice");
    const line = laptop.lines.find((each) => each.startsWith(`${SESSION}=`));
    for (const attribute of ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=[1-9]\\d*"])
      assert.match(line, new RegExp(`; ${attribute}(;|$)`), "attributes of the session cookie");
    assert.doesNotMatch(line, /domain=/i);
    const [token, copy] = [laptop.token, laptop.copiedTo(LAPTOP)];
    const page = await laptop.get("/account");
    assertLoggedIn(page, "alice");
    assert.ok(!page.text.includes("hst_"), "the token is in the cookie only");
    const record = await recordOf(token);
    assert.equal(record.user_id, "alice");
    assert.equal(record.state, "live");
    const [, maxAge] = line.match(/Max-Age=(\d+)/);
    const left = (Date.parse(record.absolute_expires_at) - Date.parse(record.created_at)) / 1000;
    assert.ok(Math.abs(left - maxAge) <= 5, `the cookie lives as long as the session can: ${maxAge} of ${left}`);

    assert.ok((await laptop.post("/logout")).text.includes("You are logged out."));
    assert.equal(laptop.cookies.size, 0);
    assert.equal((await recordOf(token)).state, "ended");
    assertRefused(await laptop.get("/account"), "You are not logged in.");
    assertRefused(await copy.get("/account"), REVOKED);
    assert.equal((await copy.post("/logout")).status, 200, "a second logout does no harm");
  });

test("address, user agent and metadata of the login arrive", async () => {
  const phone = new Browser(PHONE, "203.0.113.99");
  const page = await phone.login(ALICE);
  assertLoggedIn(page, "alice");
  assert.ok(page.text.includes("{&quot;name&quot;:&quot;Alice Liddell&quot;,&quot;plan&quot;:&quot;tea party&quot;}"), page.text);
  assert.ok(page.text.includes("203.0.113.99"));
  const record = await recordOf(phone.token);
  assert.deepEqual(record.data, { name: "Alice Liddell", plan: "tea party" });
  assert.deepEqual(record.tags, ["role:member"]);
  assert.equal(record.client.ip, "203.0.113.99");
  assert.equal(record.client.user_agent, PHONE);

  // And so do those of a later request.
  phone.address = "203.0.113.100";
  assertLoggedIn(await phone.get("/account"), "alice");
  const deadline = Date.now() + DEADLINE_MS; // where a session was last used is written down a moment later
  let seen;
  while (seen !== "203.0.113.100") {
    assert.ok(Date.now() < deadline, `the address of the later request never arrived: ${seen}`);
    seen = (await own(`/v1/sessions/${record.id}`)).last_client?.ip;
  }
});

test("a rotated token reaches the browser, and the one before still works for a moment", async () => {
  const laptop = new Browser(LAPTOP);
  await laptop.login(ALICE);
  const [first, line] = [laptop.token, laptop.lines.at(-1)];
  const late = laptop.copiedTo(LAPTOP); // a request that left before the answer with the new token arrived
  const deadline = Date.now() + DEADLINE_MS;
  while (laptop.token === first) {
    assert.ok(Date.now() < deadline, "the token was never rotated");
    assertLoggedIn(await laptop.get("/account"), "alice");
  }
  const second = laptop.token;
  const attributes = (text) => text.split("; ").slice(1).filter((part) => !/^(Max-Age|Expires)=/.test(part));
  assert.deepEqual(attributes(laptop.lines.at(-1)), attributes(line), "the new cookie is like the first");
  assertLoggedIn(await late.get("/account"), "alice");
  assert.equal(late.token, second, "both end up with the same successor");
  assertLoggedIn(await laptop.get("/account"), "alice");
  const [old, current] = [await recordOf(first), await recordOf(second)];
  assert.equal(old.id, current.id, "the session is the same");
  assert.ok(current.generation >= 1);
});

test("a copied cookie in another browser on another system ends the session", async () => {
  const laptop = new Browser(LAPTOP);
  await laptop.login(ALICE);
  const { id } = await recordOf(laptop.token);
  const sentence = "Your session was used from another browser, so it was ended.";
  assertRefused(await laptop.copiedTo(PHONE).get("/account"), sentence);
  const record = await own(`/v1/sessions/${id}`);
  assert.equal(record.state, "ended");
  assert.equal(record.ended.code, "user_agent_changed");
  assertRefused(await laptop.get("/account"), sentence);
  assert.match(site.said, /InvalidSessionToken: user_agent_changed: /, "the log has the whole sentence");
});

test("a page for a role refuses others without logging them out", async () => {
  const [alice, bob] = [new Browser(LAPTOP), new Browser(LAPTOP)];
  await alice.login(ALICE);
  const page = await alice.get("/office");
  assert.equal(page.status, 403);
  assert.ok(page.text.includes("You are still logged in"));
  assertLoggedIn(await alice.get("/account"), "alice");

  assertLoggedIn(await bob.login(BOB), "bob");
  assert.equal((await bob.get("/office")).status, 200);
  await bob.post("/logout");
});

test("an address outside of the list neither logs in nor passes, and logs nobody out", async () => {
  const stranger = new Browser(LAPTOP, ELSEWHERE);
  const page = await stranger.login(BOB);
  assert.equal(page.status, 403);
  assert.ok(page.text.includes("not allowed from the address"));
  assert.equal(stranger.cookies.size, 0);
  assert.equal((await liveOf("bob")).length, 0);

  const bob = new Browser(LAPTOP, OFFICE);
  assertLoggedIn(await bob.login(BOB), "bob");
  bob.address = ELSEWHERE;
  assert.equal((await bob.get("/account")).status, 403);
  assert.ok(bob.token, "the cookie stays");
  bob.address = OFFICE;
  assertLoggedIn(await bob.get("/account"), "bob");
  assert.match(site.said, /IpAddressError: ip_not_allowed: ip_allow 198\.51\.100\.9/);
  await bob.post("/logout");
});

test("where the policy rejects one more, the login says how many there are", async () => {
  const [one, two, three] = [new Browser(LAPTOP), new Browser(PHONE), new Browser(LAPTOP)];
  assertLoggedIn(await one.login(BOB), "bob");
  assertLoggedIn(await two.login(BOB), "bob");
  const page = await three.login(BOB);
  assert.equal(page.status, 409);
  assert.ok(page.text.includes("You are logged in 2 times, and 2 are allowed"), page.text);
  assert.equal((await liveOf("bob")).length, 2);
  assertLoggedIn(await one.login(BOB), "bob"); // the session that this browser had makes room
  assertLoggedIn(await two.get("/account"), "bob");
  await one.post("/logout");
  assertLoggedIn(await three.login(BOB), "bob");
  for (const each of [two, three]) await each.post("/logout");
});

test("one device, and all the others, can be signed out by their user and by nobody else", async () => {
  await own("/v1/sessions/revoke", { user_id: "alice" });
  const [laptop, phone, tablet, bob] = [new Browser(LAPTOP), new Browser(PHONE), new Browser(PHONE), new Browser(LAPTOP)];
  for (const each of [laptop, phone, tablet]) assertLoggedIn(await each.login(ALICE), "alice");
  await bob.login(BOB);
  const { id } = await recordOf(phone.token);
  const devices = (await laptop.get("/account")).text;
  assert.match(devices, /Firefox 140 on Linux/);
  assert.match(devices, /Safari 18 on iOS/);
  assert.match(devices, /this device/);
  assert.ok(devices.includes(`name="id" value="${id}"`), devices);

  await bob.post("/devices/sign-out", { id });
  assertLoggedIn(await phone.get("/account"), "alice");
  assertLoggedIn(await laptop.post("/devices/sign-out", { id }), "alice");
  assertRefused(await phone.get("/account"), REVOKED);
  assert.equal((await liveOf("alice")).length, 2);

  const page = await laptop.post("/devices/sign-out-others");
  assertLoggedIn(page, "alice");
  assert.ok(page.text.includes("Signed out elsewhere: 1"), page.text);
  assertRefused(await tablet.get("/account"), REVOKED);
  assert.deepEqual((await liveOf("alice")).map((each) => each.id), [(await recordOf(laptop.token)).id]);
  assertLoggedIn(await bob.get("/account"), "bob");
  await bob.post("/logout");
});

test("logging in again ends the session that this browser had", async () => {
  const laptop = new Browser(LAPTOP);
  await laptop.login(ALICE);
  const copy = laptop.copiedTo(LAPTOP);
  assertLoggedIn(await laptop.login(ALICE), "alice");
  assertRefused(await copy.get("/account"), REVOKED);
});

test("a cookie that was made up is refused, and a form from another site changes nothing", async () => {
  const forger = new Browser(LAPTOP);
  for (const made_up of ["hst_0000000000", "", "%00"]) {
    forger.cookies.set(SESSION, made_up);
    assert.equal((await forger.get("/account")).status, 401);
  }
  assertLoggedIn(await forger.login(ALICE), "alice");
  for (const origin of [{ origin: "https://evil.example" }, { origin: "null" }, {}])
    assert.equal((await forger.post("/logout", {}, origin)).status, 403);
  assertLoggedIn(await forger.get("/account"), "alice");
});

for (const [name, at] of [["the quick start", () => quickstart], ["the site", () => site]])
  test(`${name}: kill -9 logs nobody out; while the server is away it is "try again", and the cookie stays`, async () => {
    const laptop = new Browser(LAPTOP, OFFICE, at());
    assertLoggedIn(await laptop.login(ALICE), "alice");
    const { id } = await recordOf(laptop.token);
    const token = laptop.token;
    await handstamp.stop("SIGKILL");
    try {
      for (const visit of [() => laptop.get("/account"), () => laptop.post("/logout"), () => laptop.login(ALICE)]) {
        const page = await visit();
        assert.equal(page.status, 503);
        assert.ok(page.headers.get("retry-after"));
        assert.ok(page.text.includes("You are not logged out."));
        assert.ok(!page.text.includes('id="user"'), "and nobody is let in");
        assert.equal(laptop.token, token, "the cookie stays");
      }
    } finally {
      await handstamp.restart();
    }
    assertLoggedIn(await laptop.get("/account"), "alice");
    const record = await recordOf(laptop.token);
    assert.equal(record.id, id, "it is the session from before");
    assert.equal(record.state, "live");
  });

test("a wrong integration key is the site's own trouble: 503, the log names it, and the cookie stays", async () => {
  const laptop = new Browser(LAPTOP);
  await laptop.login(ALICE);
  const wrong = aSite("server.js", { HANDSTAMP_KEY: `${handstamp.key.slice(0, -4)}0000` });
  await wrong.start();
  try {
    wrong.url = wrong.url.replace("localhost", "127.0.0.1");
    laptop.at = wrong;
    const page = await laptop.get("/account");
    assert.equal(page.status, 503, page.text);
    assert.ok(page.text.includes("You are not logged out."));
    assert.match(wrong.said, /access_key_invalid: .*\(IntegrationKeyNotFound\)/);
    assert.ok(!wrong.said.includes("hsk_"), "and not the key");
  } finally {
    await wrong.stop("SIGTERM");
    laptop.at = site;
  }
  assertLoggedIn(await laptop.get("/account"), "alice");
});
