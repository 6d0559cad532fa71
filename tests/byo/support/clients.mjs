// Three clients behind one face: the published one of npm, the published one of PyPI, and a strict one of our own that asks
// and reads as the clients of Java and Go are known to.
import { spawn } from "node:child_process";
import http from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createClient } from "@propelauth/byo-node";
import { createLocalJWKSet, jwtVerify } from "jose";
import { isFree, resolved, withNulls } from "./declared.mjs";
import { read } from "./json.mjs";

/**
 * `methods()`: what the client has. `call(path, data, url, key)`: `{ok, data}`, `{ok, error}` or `{raised}`. `verify(token,
 * jwks, {issuer, audience})`: the claims, or `{refused}`.
 */
const PARTS = { "": (client) => client, "session.": (client) => client.session, "session.device.": (client) => client.session.device };

export class NodeClient {
  name = "npm 1.0.4";
  sendsNull = true;
  async methods() {
    const client = createClient({ url: "http://127.0.0.1:1", integrationKey: "none" });
    const all = Object.entries(PARTS).flatMap(([prefix, part]) =>
      Object.getOwnPropertyNames(Object.getPrototypeOf(part(client))).map((name) => prefix + name),
    );
    const own = ["constructor", "request", "validateUrl"]; // what TypeScript calls private
    return all.filter((path) => !own.includes(path.split(".").at(-1)));
  }

  async call(path, data, url, key) {
    const [, prefix, name] = path.match(/^(.*\.)?(\w+)$/);
    const client = createClient({ url, integrationKey: key });
    const { ok, data: answer, error } = await PARTS[prefix ?? ""](client)[name](data);
    return ok ? { ok, data: answer } : { ok, error };
  }

  verify = joseVerify;
  stop() {}
}

async function joseVerify(token, jwks, { issuer, audience }) {
  try {
    const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), { issuer, audience, algorithms: ["RS256"] });
    return { claims: payload };
  } catch (error) {
    if (!error.code?.startsWith("ERR_J")) throw error;
    return { refused: error.code };
  }
}

export class PythonClient {
  name = "PyPI 1.0.12";
  sendsNull = false;
  #answers = [];
  constructor(python) {
    const driver = fileURLToPath(new URL("driver.py", import.meta.url));
    this.process = spawn(python, [driver], { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" } });
    this.process.stderr.on("data", (chunk) => (this.said = ((this.said ?? "") + chunk).slice(-4000)));
    const lines = createInterface(this.process.stdout);
    lines.on("line", (line) => this.#answers.shift()?.good(JSON.parse(line)));
    this.process.on("exit", (code) => {
      for (const one of this.#answers) one.bad(new Error(`the Python driver ended with ${code}: ${this.said}`));
    });
  }

  #ask(ask) {
    return new Promise((good, bad) => {
      this.#answers.push({ good, bad });
      this.process.stdin.write(`${JSON.stringify(ask)}\n`);
    });
  }

  methods = async () => (await this.#ask({ do: "methods" })).methods;
  call = (path, data, url, key) => this.#ask({ do: "call", path, data, url, key });
  verify = (token, jwks, more) => this.#ask({ do: "verify", token, jwks, ...more });
  stop() {
    this.process.stdin.end();
  }
}

/** What Java's HttpClient offers with every request. */
const H2C = { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA" };

/** `data` before `command`, null for all that is not said, an offer of HTTP/2; and nothing unknown is read. */
export class StrictClient {
  name = "strict";
  sendsNull = true;
  constructor(declared) {
    this.declared = declared;
  }

  methods = async () => this.declared.methods.map(({ path }) => path);

  async call(path, data, url, key) {
    const { $defs, methods } = this.declared;
    const method = methods.find((one) => one.path === path);
    const body = JSON.stringify({ data: withNulls($defs, method.data, data), command: method.command });
    const { status, headers, text } = await post(url, body, { authorization: `Bearer ${key}`, ...H2C });
    return this.read(method, status, headers["content-type"] ?? "", text);
  }

  /** What such a client makes of an answer. */
  read(method, status, type, text) {
    const { $defs } = this.declared;
    try {
      if (!type.startsWith("application/json")) throw new Error("not JSON");
      const { value, broken } = read(text);
      const fraction = broken.find((path) => !/\/metadata(\/|$)/.test(path));
      if (fraction) throw new Error(`${fraction} is no whole number`);
      if (status === 200) return { ok: true, data: taken($defs, method.answer, value, "answer") };
      const known = method.errors[value.type];
      if (!known) throw new Error(`an unknown error type ${value.type}`);
      return { ok: false, error: taken($defs, known, value, "error") };
    } catch (error) {
      return { raised: `Error: ${error.message}` };
    }
  }

  verify = joseVerify;
  stop() {}
}

/** The value, read member by member into what its schema says; whatever else is there is an error. */
function taken($defs, one, value, path) {
  const schema = resolved($defs, one);
  const wrong = (why) => {
    throw new Error(`${path} ${why}`);
  };
  if (isFree(one)) return value;
  if (schema.anyOf) {
    return schema.anyOf.some((each) => each.const === value) ? value : wrong("is not one of the known values");
  }
  if ("const" in schema) return value === schema.const ? value : wrong(`is not ${schema.const}`);
  if (schema.type === "array") {
    if (!Array.isArray(value)) wrong("is no list");
    return value.map((each, place) => taken($defs, schema.items, each, `${path}[${place}]`));
  }
  if (schema.type === "integer") return Number.isSafeInteger(value) ? value : wrong("is no whole number");
  if (schema.type !== "object") return typeof value === schema.type ? value : wrong(`is no ${schema.type}`);
  if (typeof value !== "object" || value === null || Array.isArray(value)) wrong("is no object");
  for (const name of schema.required) if (!(name in value)) wrong(`lacks ${name}`);
  const members = Object.entries(value).map(([name, inner]) => {
    if (!(name in schema.properties)) wrong(`has an unknown member ${name}`);
    return [name, taken($defs, schema.properties[name], inner, `${path}.${name}`)];
  });
  return Object.fromEntries(members);
}

/** One request on a connection of its own; `headers` go out as they are. */
export function post(url, body, headers, path = "/run-command", method = "POST") {
  return new Promise((good, bad) => {
    const target = new URL(path, url);
    const all = { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers };
    for (const name of Object.keys(all)) if (all[name] === undefined) delete all[name];
    const asked = http.request(target, { method, agent: false, timeout: 15_000, headers: all }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", bad);
      answer.on("end", () => good({ status: answer.statusCode, headers: answer.headers, text: Buffer.concat(parts).toString() }));
    });
    asked.on("upgrade", () => bad(new Error("the server changed the protocol")));
    asked.on("timeout", () => asked.destroy(new Error(`no answer from ${url}`)));
    asked.on("error", bad);
    asked.end(body);
  });
}
