// The built binary, started for one file of tests with a configuration of its own, and what it says of a session by
// the management API. HANDSTAMP_BIN names the binary; without it, the release build of this repository.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { env } from "node:process";
import { fileURLToPath } from "node:url";
import { Server } from "./process.mjs";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const BINARY = resolve(env.HANDSTAMP_BIN ?? join(ROOT, "target/release/handstamp"));

/** The hosts of the tests; the browser is told where they are (`chromium.mjs`). */
export const APP = "https://app.example.test";
export const API = "https://api.example.test";
export const LOGIN = "https://login.example.test";
export const OTHER = "https://other.test";
const NAMES = [APP, API, LOGIN, OTHER].map((origin) => new URL(origin).host);

/** A folder of this run, with a certificate for the hosts above; both are gone after it. */
function newFolder() {
  const folder = mkdtempSync(join(tmpdir(), "handstamp-browser-"));
  const [cert, key] = [join(folder, "tls.crt"), join(folder, "tls.key")];
  const names = [...NAMES, "localhost"].map((name) => `DNS:${name}`).join(",");
  const asked = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=handstamp-tests`;
  execFileSync(
    "openssl",
    [...asked.split(" "), "-addext", `subjectAltName=${names}`, "-out", cert, "-keyout", key],
    { stdio: "pipe" },
  );
  return { folder, cert, key };
}

/** One request from here, not from the browser. Certificates of the run are trusted, nothing else. */
export function send(url, { method = "GET", headers = {}, body, ca } = {}) {
  const target = new URL(url);
  const { request } = target.protocol === "https:" ? https : http;
  return new Promise((answered, failed) => {
    const options = { method, headers, ca, servername: "localhost", timeout: 15_000, agent: false };
    const asked = request(target, options, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", failed);
      answer.on("end", () => {
        const text = Buffer.concat(parts).toString();
        answered({ status: answer.statusCode, headers: answer.headers, text, body: parsed(text) });
      });
    });
    asked.on("timeout", () => asked.destroy(new Error(`no answer from ${target.origin}`)));
    asked.on("error", failed);
    asked.end(body);
  });
}

export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export class Handstamp extends Server {
  /**
   * `config` is the text of handstamp.toml, `trusted` the proxies that it believes; with `tls` the server speaks HTTPS by
   * itself.
   */
  static async start({ config = "", tls = false, trusted = ["127.0.0.1"] } = {}) {
    const own = Object.assign(new Handstamp(), newFolder());
    own.data = join(own.folder, "data");
    const file = join(own.folder, "handstamp.toml");
    const server = tls ? `tls_cert = "${own.cert}"\ntls_key = "${own.key}"\n` : "";
    writeFileSync(file, `[server]\ntrusted_proxies = ${JSON.stringify(trusted)}\n${server}${config}`);
    const kept = { PATH: env.PATH, HANDSTAMP_FORWARD_AUTH__LISTEN: "127.0.0.1:0" };
    const args = ["serve", "--config", file, "--data-dir", own.data, "--listen", "127.0.0.1:0"];
    try {
      await own.launch(BINARY, args, { cwd: own.folder, env: kept }, /[^-]listening on (https?:\/\/[\w.:[\]]+:\d+)/);
    } catch (error) {
      own.sweep();
      throw error;
    }
    own.accessKey = readFileSync(join(own.data, "access.key"), "utf8").trim();
    own.forwardAuth = own.said.match(/forward-auth on (http:\/\/\S+)/)?.[1];
    return own;
  }

  launch(...how) {
    return super.start(...how);
  }

  get port() {
    return new URL(this.url).port;
  }

  get ca() {
    return readFileSync(this.cert);
  }

  /** A call of the management API; `wanted` is the status that the test counts on. */
  async api(method, path, body, wanted = [200, 201]) {
    const headers = { authorization: `Bearer ${this.accessKey}`, "content-type": "application/json" };
    const answer = await send(this.url + path, { method, headers, body: body && JSON.stringify(body), ca: this.ca });
    assert.ok([wanted].flat().includes(answer.status), `${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  session = (id) => this.api("GET", `/v1/sessions/${id}`).then((answer) => answer.session ?? answer);
  events = (id) => this.api("GET", `/v1/sessions/${id}/events`).then((answer) => answer.items);

  async live(id) {
    assert.equal((await this.session(id)).state, "live");
  }

  /** The session is over, for this reason and no other. */
  async ended(id, code) {
    const session = await this.session(id);
    assert.equal(session.state, "ended", "the server still has the session as live");
    assert.equal(session.ended.code, code);
    return session;
  }

  async close() {
    await this.stop();
    this.sweep();
  }

  sweep() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
