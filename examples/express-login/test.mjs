// The whole story over HTTP: the real Handstamp, the real site, and browsers with a cookie jar.
// HANDSTAMP_BIN names the binary; without it, the release build of this repository.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { env, execPath } from "node:process";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const binary = resolve(env.HANDSTAMP_BIN ?? join(here, "../../target/release/handstamp"));
const SESSION = "__Host-handstamp";
const DEADLINE_MS = 15_000;
const ALICE = { username: "alice", password: "down the rabbit hole" };
const BOB = { username: "bob", password: "can we fix it" };

/** A child process that is ready once it has printed a line with its address. */
class Server {
  #child;
  constructor(command, args, options, address) {
    Object.assign(this, { command, args, options, address });
  }

  async start(...more) {
    const child = spawn(this.command, [...this.args, ...more], { ...this.options, stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    let said = "";
    this.url = await new Promise((ready, failed) => {
      const fail = (why) => {
        child.kill("SIGKILL");
        failed(new Error(`${this.command} ${why}; it said:\n${said.replace(/hs[ktrp]_\w+/g, "(secret)")}`));
      };
      const timer = setTimeout(fail, DEADLINE_MS, "did not print its address");
      const hear = (chunk) => {
        said += chunk;
        const found = said.match(this.address);
        if (found) ready(found[1]), clearTimeout(timer);
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.on("error", (error) => fail(error.message));
      child.on("exit", (code, signal) => fail(`ended with ${code ?? signal}`));
    });
  }

  async stop(signal) {
    if (!this.#child || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill(signal);
    await gone;
  }
}

/** A browser as far as this site needs one: it keeps cookies, follows redirects and names itself. */
class Browser {
  cookies = new Map();
  lines = []; // every Set-Cookie line seen
  constructor(agent) {
    this.agent = agent;
  }

  get = (path) => this.#go("GET", path);
  post = (path, form = {}, headers) => this.#go("POST", path, new URLSearchParams(form), headers);
  login = (user) => this.post("/login", user);

  async #go(method, path, body, headers = { origin: site.url }) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(new URL(path, site.url), {
      method,
      body,
      redirect: "manual",
      headers: { "user-agent": this.agent, ...(cookie && { cookie }), ...(method === "POST" && headers) },
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

let folder, handstamp, site;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "handstamp-express-"));
  const data = join(folder, "data");
  const config = join(folder, "handstamp.toml");
  // Rotation often enough to be seen here; all else as delivered.
  await writeFile(config, '[policy.default]\nrotate_every = "1s"\n');
  handstamp = new Server(
    binary,
    ["serve", "--config", config, "--data-dir", data],
    { cwd: folder, env: { PATH: env.PATH, HANDSTAMP_FORWARD_AUTH__LISTEN: "off" } },
    /listening on (http:\/\/[\w.:[\]]+:\d+)/,
  );
  await handstamp.start("--listen", "127.0.0.1:0");
  site = new Server(
    execPath,
    ["server.js"],
    {
      cwd: here,
      env: { PATH: env.PATH, PORT: "0", HANDSTAMP_URL: handstamp.url, HANDSTAMP_KEY_FILE: join(data, "access.key") },
    },
    /the site is on (http:\/\/localhost:\d+)/,
  );
  await site.start();
  site.url = site.url.replace("localhost", "127.0.0.1"); // where it listens, however this machine resolves names
});

after(async () => {
  await site?.stop("SIGTERM");
  await handstamp?.stop("SIGTERM");
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** The same Handstamp again: same address, same data. */
const restart = () => handstamp.start("--listen", new URL(handstamp.url).host);

function assertLoggedIn(page, user) {
  assert.equal(page.status, 200, page.text);
  assert.ok(page.text.includes(`<dd id="user">${user}</dd>`), page.text);
}

function assertRefused(page, code) {
  assert.equal(page.status, 401, page.text);
  assert.ok(page.text.includes(code), `expected ${code} in ${page.text}`);
  assert.ok(page.text.includes('action="/login"'), "a refused visitor can log in again");
  assert.ok(!page.text.includes('id="user"'));
}

test("without a login the protected page shows nothing and says why", async () => {
  const page = await new Browser(LAPTOP).get("/account");
  assertRefused(page, "You are not logged in: token_missing");
});

test("after the login the protected page shows the user and the data of the session", async () => {
  const laptop = new Browser(LAPTOP);
  const page = await laptop.login(ALICE);
  assertLoggedIn(page, "alice");
  assert.ok(page.text.includes("Hello, Alice Liddell"));
  assert.ok(page.text.includes("&quot;plan&quot;:&quot;tea party&quot;"), page.text);
  assert.equal(page.headers.get("cache-control"), "no-store");

  const cookie = laptop.lines.find((line) => line.startsWith(`${SESSION}=`));
  for (const attribute of ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"])
    assert.match(cookie, new RegExp(`; ${attribute}(;|$)`), "attributes of the session cookie");
  assert.ok(!page.text.includes(laptop.cookies.get(SESSION)), "the token is in the cookie only");
});

test("a wrong password and an unknown user get no session", async () => {
  for (const wrong of [{ ...ALICE, password: "guess" }, { ...ALICE, username: "nobody" }, {}]) {
    const browser = new Browser(LAPTOP);
    const page = await browser.login(wrong);
    assert.equal(page.status, 401);
    assert.ok(page.text.includes("Wrong name or password."));
    assert.equal(browser.cookies.size, 0);
  }
});

test("a cookie that was made up is refused", async () => {
  const forger = new Browser(LAPTOP);
  for (const made_up of ["hst_0000000000", "", "%00"]) {
    forger.cookies.set(SESSION, made_up);
    assertRefused(await forger.get("/account"), "token_");
  }
  assertLoggedIn(await forger.login(BOB), "bob"); // and does not stand in the way of a real login
});

test("a login survives kill -9 and a restart of Handstamp between two requests", async () => {
  const laptop = new Browser(LAPTOP);
  assertLoggedIn(await laptop.login(ALICE), "alice");
  await handstamp.stop("SIGKILL");
  await restart();
  const page = await laptop.get("/account");
  assertLoggedIn(page, "alice");
  assert.ok(page.text.includes("tea party"), "the data survived as well");
});

test("while Handstamp is down nobody is let in and nobody is logged out", async () => {
  const laptop = new Browser(LAPTOP);
  await laptop.login(ALICE);
  const token = laptop.cookies.get(SESSION);
  await handstamp.stop("SIGTERM");
  try {
    for (const visit of [() => laptop.get("/account"), () => laptop.post("/logout"), () => laptop.login(ALICE)]) {
      const page = await visit();
      assert.equal(page.status, 503);
      assert.ok(page.headers.get("retry-after"));
      assert.ok(page.text.includes("try again"));
      assert.ok(!page.text.includes('id="user"'));
      assert.equal(laptop.cookies.get(SESSION), token, "the cookie stays");
    }
  } finally {
    await restart();
  }
  assertLoggedIn(await laptop.get("/account"), "alice");
});

test("a rotated token reaches the browser, and the one before still works for a moment", async () => {
  const laptop = new Browser(LAPTOP);
  await laptop.login(ALICE);
  const first = laptop.cookies.get(SESSION);
  const deadline = Date.now() + DEADLINE_MS;
  while (laptop.cookies.get(SESSION) === first) {
    assert.ok(Date.now() < deadline, "the token was never rotated");
    assertLoggedIn(await laptop.get("/account"), "alice");
  }
  const second = laptop.cookies.get(SESSION);
  const late = new Browser(LAPTOP); // a request that left before the answer with the new token arrived
  late.cookies.set(SESSION, first);
  assertLoggedIn(await late.get("/account"), "alice");
  assert.equal(late.cookies.get(SESSION), second, "both end up with the same successor");
  assertLoggedIn(await laptop.get("/account"), "alice");
});

test("signing out the other devices ends only those", async () => {
  const [laptop, phone, other] = [new Browser(LAPTOP), new Browser(PHONE), new Browser(PHONE)];
  await laptop.login(BOB);
  await phone.login(BOB);
  await other.login(ALICE);
  const devices = (await laptop.get("/account")).text;
  assert.match(devices, /this device/);
  assert.match(devices, /action="\/devices\/sign-out"/);

  const page = await laptop.post("/devices/sign-out-others");
  assertLoggedIn(page, "bob");
  assert.match(page.text, /Signed out elsewhere: [1-9]/);
  assert.ok(!page.text.includes('action="/devices/sign-out"'), "this device is the only one left");
  assertRefused(await phone.get("/account"), "Your session ended: session_revoked");
  assertLoggedIn(await laptop.get("/account"), "bob");
  assertLoggedIn(await other.get("/account"), "alice");
});

test("one device can be signed out by another of the same user, and by nobody else", async () => {
  const [laptop, phone, stranger] = [new Browser(LAPTOP), new Browser(PHONE), new Browser(PHONE)];
  await laptop.login(BOB);
  await laptop.post("/devices/sign-out-others");
  await phone.login(BOB);
  await stranger.login(ALICE);
  const [, id] = (await laptop.get("/account")).text.match(/name="id" value="([^"]+)"/);

  await stranger.post("/devices/sign-out", { id });
  assertLoggedIn(await phone.get("/account"), "bob");
  assertLoggedIn(await laptop.post("/devices/sign-out", { id }), "bob");
  assertRefused(await phone.get("/account"), "session_revoked");
});

test("a form from another site changes nothing", async () => {
  const laptop = new Browser(LAPTOP);
  await laptop.login(ALICE);
  for (const origin of [{ origin: "https://evil.example" }, { origin: "null" }, {}])
    assert.equal((await laptop.post("/logout", {}, origin)).status, 403);
  assertLoggedIn(await laptop.get("/account"), "alice");
});

test("logging in again ends the session that this browser had", async () => {
  const laptop = new Browser(LAPTOP);
  await laptop.login(ALICE);
  const thief = new Browser(LAPTOP);
  thief.cookies = new Map(laptop.cookies);
  assertLoggedIn(await laptop.login(BOB), "bob");
  assertRefused(await thief.get("/account"), "session_revoked");
});

test("a logout ends the session itself, not just the cookie", async () => {
  const laptop = new Browser(LAPTOP);
  await laptop.login(ALICE);
  const copy = new Browser(LAPTOP);
  copy.cookies = new Map(laptop.cookies);

  const page = await laptop.post("/logout");
  assert.equal(page.status, 200);
  assert.ok(page.text.includes("You are logged out."));
  assert.equal(laptop.cookies.size, 0);
  assertRefused(await laptop.get("/account"), "You are not logged in: token_missing");
  assertRefused(await copy.get("/account"), "Your session ended: session_revoked");
  assert.equal((await copy.post("/logout")).status, 200, "a second logout does no harm");
});
