// One client, a server of its own and the wire between them: asks, keeps what was asked and answered, and holds what the
// client says against what went over the wire.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { until } from "../../browser/support/wait.mjs";
import { commandOf } from "./judge.mjs";
import { Relay } from "./relay.mjs";
import { Handstamp } from "./server.mjs";

export { until, pause };
/** Python 1.0.12 looks for a member of another name than its own types say. */
const RAISES = { "PyPI 1.0.12": { CannotModifyOnCreateOnlyTags: "KeyError: 'tagNames'" } };
const UNIT = Symbol("an error without details");

export class World {
  calls = new Map();
  #users = 0;

  static async start(client, declared) {
    const own = Object.assign(new World(), { client, declared });
    own.server = await Handstamp.launch();
    own.relay = await Relay.start(() => own.server.url);
    own.key = own.server.key;
    return own;
  }

  async stop() {
    this.client.stop();
    await this.relay.stop();
    await this.server.close();
  }

  /** A user that nobody has used yet. */
  user = (name = "ada") => `${name}-${++this.#users}`;

  /** What the client says, and as `wire` the exchange behind it; both must agree. */
  async call(path, data = {}, { key = this.key } = {}) {
    this.calls.set(path, (this.calls.get(path) ?? 0) + 1);
    const before = this.relay.exchanges.length;
    const said = await this.client.call(path, data, this.relay.url, key);
    const wires = this.relay.exchanges.slice(before);
    assert.equal(wires.length, 1, `${path} is one request: ${JSON.stringify(said)}`);
    const [wire] = wires;
    const { command } = this.declared.methods.find((one) => one.path === path);
    assert.equal(commandOf(wire.request), command);
    const status = Number(wire.answer.start.split(" ")[1]);
    const body = JSON.parse(wire.answer.body);
    const type = status === 200 ? undefined : body.type;
    const raises = RAISES[this.client.name]?.[type];
    if (raises) assert.equal(said.raised, raises);
    else if (status === 200) assert.deepEqual(said, { ok: true, data: this.#known(body) }, `${path}: ${wire.answer.body}`);
    else assert.deepEqual(said, { ok: false, error: body }, `${path}: ${wire.answer.body}`);
    return { ok: status === 200, data: status === 200 ? body : undefined, type, details: body.details, status, wire };
  }

  /** The Python client has no difference between null and absent. */
  #known(body) {
    if (this.client.sendsNull || body.metadata !== null) return body;
    return Object.fromEntries(Object.entries(body).filter(([name]) => name !== "metadata"));
  }

  /** The answer of a call that must succeed. */
  async good(path, data, how) {
    const said = await this.call(path, data, how);
    assert.ok(said.ok, `${path} ${JSON.stringify(data)}: ${said.status} ${said.wire.answer.body}`);
    return said.data;
  }

  /**
   * The details of a call that must fail with this type and status. `details` is `unit` where there are none, a pattern for
   * a text, or what they are equal to.
   */
  async bad(path, data, type, status, details, how) {
    const said = await this.call(path, data, how);
    const what = `${path} ${JSON.stringify(data)}: ${said.status} ${said.wire.answer.body}`;
    assert.equal(said.type, type, what);
    if (status !== undefined) assert.equal(said.status, status, what);
    if (details === UNIT) assert.ok(!("details" in JSON.parse(said.wire.answer.body)), what);
    else if (details instanceof RegExp) assert.match(said.details, details, what);
    else if (details !== undefined) assert.deepEqual(said.details, details, what);
    return said.details;
  }

  /** A session: the client's answer, and as `own` what the server has. */
  async session(more = {}) {
    const made = await this.good("session.create", { userId: this.user(), ...more });
    return { ...made, own: await this.server.session(made.sessionId) };
  }

  /** The data with each of its optional members null instead, where the client can send that. */
  orNull = (data) => (this.client.sendsNull ? data : Object.fromEntries(Object.entries(data).filter(([, value]) => value !== null)));
}

export const unit = UNIT;
/** An instant of our API as the protocol has it: whole seconds. */
export const seconds = (text) => Math.floor(Date.parse(text) / 1000);
export const now = () => Math.floor(Date.now() / 1000);
/** Equal, but for the second that may pass meanwhile. */
export const near = (one, other, by = 2) => assert.ok(Math.abs(one - other) <= by, `${one} is not near ${other}`);

export const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
export const CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36";
export const IPHONE =
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
export const IPAD =
  "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1";
