// Every way in which a proof is wrong, and what each of the three commands that take one says of it.
import assert from "node:assert/strict";
import { asDer, changed, Device } from "../support/proof.mjs";
import { CHROME, FIREFOX, now, unit } from "../support/world.mjs";
import { bound, challenge, of, proof, shown } from "./devices.mjs";

const HERE = { userAgent: FIREFOX, ipAddress: "203.0.113.7" };
const REQUEST = { method: "POST", url: "https://app.example/devices" };
const BOTH = ["session.validate", "session.validateAndRefresh"];

/**
 * What is wrong with it, and how it is made: `sign` makes a right one but for what it is told. The same for all three, as far
 * as it makes sense there.
 */
const WRONG = [
  ["nothing", () => ""],
  ["no proof", () => "x"],
  ["three parts of nothing", () => ".."],
  ["three parts of something", () => "a.b.c"],
  ["two parts", async (sign) => (await sign()).split(".").slice(0, 2).join(".")],
  ["four parts", async (sign) => `${await sign()}.e30`],
  ["too long", async (sign) => `${await sign()}${"A".repeat(9000)}`],
  ["a changed signature", async (sign) => changed(await sign())],
  ["no signature", async (sign) => (await sign()).replace(/\.[^.]*$/, ".")],
  ["a DER signature", async (sign) => asDer(await sign())],
  ["a padded part", async (sign) => `${await sign()}==`],
  ["another method", (sign) => sign({ method: "PUT" })],
  ["the method in small letters", (sign) => sign({ method: REQUEST.method.toLowerCase() })],
  ["another path", (sign) => sign({ url: `${REQUEST.url}/other` })],
  ["another host", (sign) => sign({ url: REQUEST.url.replace("app.", "evil.") })],
  ["another scheme", (sign) => sign({ url: REQUEST.url.replace("https", "http") })],
  ["no URL", (sign) => sign({ url: "nowhere" })],
  ["another type", (sign) => sign({ header: { typ: "dpop+jwt" } })],
  ["no type", (sign) => sign({ header: { typ: undefined } })],
  ["no algorithm", (sign) => sign({ header: { alg: "none" } })],
  ["another algorithm", (sign) => sign({ header: { alg: "EdDSA" } })],
  ["an algorithm of one secret", (sign) => sign({ header: { alg: "HS256" } })],
  ["one more member in the header", (sign) => sign({ header: { kid: "x" } })],
  ["one more claim", (sign) => sign({ claims: { sub: "ada" } })],
  ...["jti", "htm", "htu", "iat"].map((name) => [`no ${name}`, (sign) => sign({ claims: { [name]: undefined } })]),
  ["a time with a fraction", (sign) => sign({ claims: { iat: now() + 0.5 } })],
  ["a session that is none", (sign) => sign({ claims: { sih: "x" } })],
];

/** What is wrong with the proof of a session that there is. */
const OF_A_SESSION = [
  ["of another session", (sign, other) => sign({ session: other.sessionId })],
  ["of no session", (sign) => sign({ session: undefined })],
];

/** Right but for its freshness. */
const STALE = [
  ["a made-up challenge", (sign) => sign({ challenge: "dch_none" })],
  ["another client's challenge", async (sign, other, w) => sign({ challenge: await challenge(w, { ...HERE, userAgent: CHROME }) })],
  ["from before its challenge", (sign) => sign({ claims: { iat: now() - 120 } })],
  ["from the future", (sign) => sign({ claims: { iat: now() + 60 } })],
];

export const cases = [
  ...BOTH.map((path) => [
    `of a request (${path})`,
    async (w) => {
      const [one, other] = [await bound(w), await bound(w)];
      const ask = { sessionToken: one.sessionToken, ...HERE };
      const sign = (more) => proof(w, one, { ...REQUEST, ...more });
      const failed = async (name, signed) => {
        const data = { ...ask, deviceVerification: shown(signed, REQUEST) };
        try {
          await w.bad(path, data, "DeviceVerificationFailed", 403, unit);
        } catch (error) {
          throw new Error(`${name}: ${error.message}`);
        }
      };
      for (const [name, make] of [...WRONG, ...OF_A_SESSION]) await failed(name, await make(sign, other, w));
      await failed("another key", await proof(w, { ...one, device: await Device.make() }, REQUEST));
      await failed("another's key", await proof(w, { ...one, device: other.device }, REQUEST));
      await failed("the key in its header", await sign({ key: true }));
      await failed("another key, in its header", await proof(w, { ...one, device: await Device.make() }, { ...REQUEST, key: true }));
      assert.equal(await w.server.endOf(one.sessionId), undefined, "no wrong proof ends anything");
      await w.server.told("device_proof_invalid", { session: one.sessionId });
      await w.good(path, { ...ask, deviceVerification: shown(await sign(), REQUEST) });
    },
  ]),
  ...BOTH.map((path) => [
    `for another session (${path})`,
    async (w) => {
      const [one, other] = [await bound(w), await bound(w)];
      const signed = await proof(w, one);
      const ask = ({ sessionToken }) => ({ sessionToken, ...HERE, deviceVerification: shown(signed) });
      await w.bad(path, ask(other), "DeviceVerificationFailed", 403, unit);
      await w.good(path, ask(one));
    },
  ]),
  [
    "of a login: there is no session then, and no device",
    async (w) => {
      const device = await Device.make();
      const userId = w.user();
      const other = await w.session();
      const right = async () => ({ key: true, ...REQUEST, challenge: await challenge(w) });
      const sign = async (more) => device.sign({ ...(await right()), ...more });
      const ask = (signedDeviceChallenge) => ({ userId, ...HERE, deviceRegistration: { signedDeviceChallenge, rememberDevice: true, ...of(REQUEST) } });
      const once = await sign();
      await w.good("session.create", { ...ask(once), userId: w.user() });
      for (const [name, make] of [
        ...WRONG,
        ...STALE,
        ["used before", () => once],
        ["of a session", (sign) => sign({ session: other.sessionId })],
        ["without a key", (sign) => sign({ key: false })],
        ["of another key than it brings", async () => (await Device.make()).sign({ ...(await right()), header: { jwk: device.jwk } })],
        ["with a key that has more members", (sign) => sign({ header: { jwk: { ...device.jwk, use: "sig" } } })],
        ["with a key that is on no curve", (sign) => sign({ header: { jwk: { ...device.jwk, x: device.jwk.y } } })],
      ]) {
        const said = await w.call("session.create", ask(await make(sign, other, w)));
        assert.deepEqual([said.type, said.status, said.details], ["InvalidDeviceRegistration", 403, undefined], name);
      }
      assert.deepEqual([await w.server.live(userId), await w.server.devices(userId)], [[], []]);
      await w.good("session.create", ask(await sign()));
    },
  ],
  [
    "of a registration",
    async (w) => {
      const device = await Device.make();
      const [one, other] = [await w.session(HERE), await w.session(HERE)];
      const right = async () => ({ key: true, ...REQUEST, challenge: await challenge(w), session: one.sessionId });
      const sign = async (more) => device.sign({ ...(await right()), ...more });
      const ask = (signedDeviceChallenge) => ({ sessionToken: one.sessionToken, signedDeviceChallenge, rememberDevice: true, ...HERE, ...of(REQUEST) });
      for (const [name, make] of [
        ...WRONG,
        ...OF_A_SESSION,
        ["without a key", (sign) => sign({ key: false })],
        ["of another key than it brings", async () => (await Device.make()).sign({ ...(await right()), header: { jwk: device.jwk } })],
      ]) {
        const said = await w.call("session.device.register", ask(await make(sign, other, w)));
        assert.deepEqual([said.type, said.status, said.details], ["InvalidDeviceRegistration", 403, undefined], name);
      }
      let fresh;
      for (const [name, make] of STALE) {
        const said = await w.call("session.device.register", ask(await make(sign, other, w)));
        assert.deepEqual([said.type, said.status], ["NewDeviceChallengeRequired", 403], name);
        fresh = said.details.deviceChallenge;
      }
      assert.equal((await w.server.session(one.sessionId)).device ?? null, null, "it has none yet");
      const signed = await sign({ challenge: fresh });
      await w.good("session.device.register", ask(signed));
      await w.bad("session.device.register", ask(await sign()), "DeviceAlreadyRegistered", 409, unit);
      const next = await Device.make();
      await w.bad("session.device.register", ask(await next.sign(await right())), "DeviceAlreadyRegistered", 409, unit);
      assert.equal((await w.server.session(one.sessionId)).device.id, device.thumbprint);
    },
  ],
  [
    "for a session that is not there",
    async (w) => {
      const device = await Device.make();
      const [one, other, gone] = [await w.session(HERE), await w.session(HERE), await w.session(HERE)];
      await w.good("session.invalidateById", { sessionId: gone.sessionId });
      const signed = await device.sign({ key: true, ...REQUEST, challenge: await challenge(w), session: one.sessionId });
      for (const whom of [
        {},
        w.orNull({ sessionToken: null, sessionId: null }),
        { sessionToken: "none" },
        { sessionToken: "" },
        { sessionId: "none" },
        { sessionToken: gone.sessionToken },
        { sessionId: gone.sessionId },
        { sessionToken: one.sessionToken, sessionId: other.sessionId },
      ]) {
        const data = { ...whom, signedDeviceChallenge: signed, rememberDevice: true, ...HERE, ...of(REQUEST) };
        await w.bad("session.device.register", data, "SessionNotFound", 404, unit);
      }
      for (const { sessionId } of [one, other]) assert.equal((await w.server.session(sessionId)).device ?? null, null);
    },
  ],
  [
    "for a session that may get none: long after the login, and in somebody's place",
    async (w) => {
      const device = await Device.make();
      const at = new Date(Date.now() - 2 * 3600_000).toISOString();
      const body = { user_id: w.user(), ip: HERE.ipAddress, user_agent: HERE.userAgent };
      for (const [more, code] of [
        [{ auth: { methods: ["password"], at } }, "reauthentication_required"],
        [{ actor: { id: "grace", reason: "ticket 4711" } }, "impersonation_forbidden"],
      ]) {
        const { session, token } = await w.server.api("POST", "/v1/sessions", { ...body, ...more });
        const signed = await device.sign({ key: true, ...REQUEST, challenge: await challenge(w), session: session.id });
        const data = { sessionToken: token, signedDeviceChallenge: signed, rememberDevice: true, ...HERE, ...of(REQUEST) };
        await w.bad("session.device.register", data, "UnexpectedError", 403, new RegExp(`^${code}: `));
        assert.equal((await w.server.session(session.id)).device ?? null, null);
      }
    },
  ],
  [
    "of a request that is none",
    async (w) => {
      const one = await bound(w);
      const ask = { sessionToken: one.sessionToken, ...HERE };
      const signed = await proof(w, one);
      for (const [more, place] of [
        [{ requestMethod: "G E T" }, "requestMethod"],
        [{ requestUrl: "/orders" }, "requestUrl"],
      ]) {
        const pattern = new RegExp(`^invalid_request: /data/deviceVerification/${place}: `);
        await w.bad("session.validate", { ...ask, deviceVerification: { signedDeviceChallenge: signed, ...more } }, "UnexpectedError", 400, pattern);
      }
    },
  ],
];
