// The built binary with the policies of these tests, and what it says of itself by its own API: what a client was told is
// one thing, what the server did another. HANDSTAMP_BIN names the binary; without it, the release build of this repository.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { env } from "node:process";
import { fileURLToPath } from "node:url";
import { Server } from "../../browser/support/process.mjs";
import { until } from "../../browser/support/wait.mjs";
import { post } from "./clients.mjs";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const BINARY = resolve(env.HANDSTAMP_BIN ?? join(ROOT, "target/release/handstamp"));
const CONFIG = fileURLToPath(new URL("../handstamp.toml", import.meta.url));
/** Those that the commands need. */
const KEY_SCOPES = ["sessions:read", "sessions:write", "tokens:mint", "keys:write"];
/** In memory where there is such a place: a thousand sessions are made. */
const FOLDERS = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

export class Handstamp extends Server {
  static async launch() {
    const own = new Handstamp();
    own.folder = mkdtempSync(join(FOLDERS, "handstamp-byo-"));
    own.data = join(own.folder, "data");
    try {
      await own.again();
    } catch (error) {
      own.sweep();
      throw error;
    }
    own.key = readFileSync(join(own.data, "access.key"), "utf8").trim();
    return own;
  }

  /** Starts it, for the first time or on what is there. */
  again() {
    const file = join(this.folder, "handstamp.toml");
    writeFileSync(file, readFileSync(CONFIG));
    const args = ["serve", "--config", file, "--data-dir", this.data, "--listen", "127.0.0.1:0"];
    const kept = { PATH: env.PATH, HANDSTAMP_FORWARD_AUTH__LISTEN: "off" };
    // Over the limit of its file size a write fails, as on a full disk (`full`), instead of ending the process.
    const shell = ["-c", 'trap "" XFSZ; exec "$0" "$@"', BINARY, ...args];
    return this.start("sh", shell, { cwd: this.folder, env: kept }, /listening on (http:\/\/[\w.:[\]]+:\d+)/);
  }

  /** From now on nothing can be written, or again everything. */
  full(yes) {
    execFileSync("prlimit", ["--pid", `${this.pid}`, `--fsize=${yes ? "1" : "unlimited"}:unlimited`]);
  }

  /** A call of the management API; `wanted` are the statuses that the test counts on. */
  async api(method, path, body, { wanted = [200, 201], key = this.key, environment } = {}) {
    const headers = { authorization: `Bearer ${key}`, ...(environment && { "x-handstamp-env": environment }) };
    const answer = await post(this.url, body ? JSON.stringify(body) : "", headers, path, method);
    assert.ok([wanted].flat().includes(answer.status), `${method} ${path}: ${answer.status} ${answer.text}`);
    return JSON.parse(answer.text);
  }

  session = (id) => this.api("GET", `/v1/sessions/${id}`).then((answer) => answer.session ?? answer);
  events = (id) => this.api("GET", `/v1/sessions/${id}/events`).then((answer) => answer.items);
  devices = (user) => this.api("GET", `/v1/devices?user_id=${user}`).then((answer) => answer.items);
  signing = () => this.api("GET", "/v1/keys/signing").then((answer) => answer.items);
  live = (user) => this.api("GET", `/v1/sessions?state=live&limit=200&user_id=${user}`).then((answer) => answer.items.map(({ id }) => id));
  /** What our own validation says of a token: `valid`, or the code. */
  verdict = (token, more) =>
    this.api("POST", "/v1/sessions/validate", { token, touch: false, ...more }).then(({ valid, code }) => (valid ? "valid" : code));

  /** A key with these scopes: its text, and its id. */
  async newKey(scopes) {
    const { key, secret } = await this.api("POST", "/v1/keys", { name: "tests", scopes });
    return { id: key.id, secret };
  }

  /** A key of an environment that there was not before. */
  async elsewhere(product, environment) {
    const args = ["keys", "create", "operator", "--operator", "--json", "--listen", new URL(this.url).host, "--data-dir", this.data];
    const { secret: key } = JSON.parse(execFileSync(BINARY, args, { cwd: this.folder, env: { PATH: env.PATH }, stdio: "pipe" }));
    await this.api("POST", "/v1/environments", { product, environment }, { key });
    const made = await this.api("POST", "/v1/keys", { name: "tests", scopes: KEY_SCOPES }, { key, environment: `${product}/${environment}` });
    return made.secret;
  }

  /** Waits until history tells of a refusal: of a session, or of a login of that user. It is written after the answer. */
  told = (code, { session, user }) =>
    until(`history tells of ${code}`, async () => {
      const { items } = await this.api("GET", session ? `/v1/sessions/${session}/events` : `/v1/events?user_id=${user}`);
      return items.find((event) => event.type === "session.refused" && event.code === code);
    });

  /** Why the session ended; nothing while it lives. */
  async endOf(id) {
    const { state, ended } = await this.session(id);
    return state === "ended" ? ended.code : undefined;
  }

  async close() {
    await this.stop();
    this.sweep();
  }

  /** The same at once, whatever runs. */
  drop() {
    void this.kill(); // of one that has ended already, nothing
    this.sweep();
  }

  sweep() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
