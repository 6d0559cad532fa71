// A browser key, from the challenge to every request that needs its proof.
import assert from "node:assert/strict";
import { Device } from "../support/proof.mjs";
import { CHROME, FIREFOX, near, now, unit } from "../support/world.mjs";

const HERE = { userAgent: FIREFOX, ipAddress: "203.0.113.7" };
const LOGIN = { method: "POST", url: "https://app.example/login" };
const ORDERS = { method: "GET", url: "https://app.example/orders" };
const BOTH = ["session.validate", "session.validateAndRefresh"];
export const of = ({ method, url }) => ({ requestMethod: method, requestUrl: url });

export const challenge = async (w, from = HERE) => (await w.good("session.device.createChallenge", from)).deviceChallenge;

/** A session with a device: by a login with it. */
export async function bound(w, { userId = w.user(), device, tags, remember = true } = {}) {
  device ??= await Device.make();
  const proof = await device.sign({ challenge: await challenge(w), key: true, ...LOGIN });
  const deviceRegistration = { signedDeviceChallenge: proof, rememberDevice: remember, ...of(LOGIN) };
  return { device, userId, ...(await w.session({ userId, tags, ...HERE, deviceRegistration })) };
}

/** A proof for a request of the session. */
export const proof = async (w, { device, sessionId }, more = {}) =>
  device.sign({ challenge: await challenge(w), session: sessionId, ...ORDERS, ...more });

export const shown = (signedDeviceChallenge, request = ORDERS) => ({ signedDeviceChallenge, ...of(request) });

export const cases = [
  [
    "a challenge, for whoever it is",
    async (w) => {
      const seen = new Set();
      for (const data of [{}, w.orNull({ userAgent: null, ipAddress: null }), HERE, { userAgent: FIREFOX }, { ipAddress: "2001:db8::1" }]) {
        const said = await w.good("session.device.createChallenge", data);
        near(said.expiresAt, now() + 300, 5);
        seen.add(said.deviceChallenge);
      }
      assert.equal(seen.size, 5);
      await w.bad("session.device.createChallenge", { ipAddress: "nowhere" }, "UnexpectedError", 400, /^invalid_request: \/data\/ipAddress: /);
    },
  ],
  [
    "a login with a device: new, then known",
    async (w) => {
      const one = await bound(w);
      assert.equal(one.newDeviceDetected, true);
      assert.equal(one.own.device.id, one.device.thumbprint);
      const [known, ...more] = await w.server.devices(one.userId);
      assert.deepEqual([known.id, known.key, more.length], [one.device.thumbprint, "P-256", 0]);
      assert.equal((await bound(w, one)).newDeviceDetected, false);
      assert.equal((await bound(w, { userId: one.userId })).newDeviceDetected, true, "another key is another device");
      assert.equal((await bound(w, { device: one.device })).newDeviceDetected, true, "of another user it is not known");
      assert.equal((await w.server.devices(one.userId)).length, 2);
    },
  ],
  [
    "a login with a device that is not to be remembered",
    async (w) => {
      const [userId, device] = [w.user(), await Device.make()];
      for (const more of [{ rememberDevice: false }, {}, w.orNull({ rememberDevice: null, requestUrl: null, requestMethod: null })]) {
        const signedDeviceChallenge = await device.sign({ challenge: await challenge(w), key: true, ...LOGIN });
        const made = await w.session({ userId, ...HERE, deviceRegistration: { signedDeviceChallenge, ...more } });
        assert.equal(made.newDeviceDetected, true);
        assert.equal(made.own.device.id, device.thumbprint);
      }
      assert.deepEqual(await w.server.devices(userId), []);
    },
  ],
  [
    "a device for a session that there is: by its token, by its id, by both",
    async (w) => {
      const [userId, device] = [w.user(), await Device.make()];
      const nulls = { requestUrl: null, requestMethod: null, userAgent: null, ipAddress: null };
      for (const [name, remember, whom, more] of [
        ["token", true, ({ sessionToken }) => ({ sessionToken, ...w.orNull({ sessionId: null }) }), { ...HERE, ...of(LOGIN) }],
        ["id", false, ({ sessionId }) => ({ sessionId, ...w.orNull({ sessionToken: null }) }), { ...HERE, ...of(LOGIN) }],
        ["both", true, ({ sessionId, sessionToken }) => ({ sessionId, sessionToken }), HERE],
        ["nothing of the request", true, ({ sessionId }) => ({ sessionId }), {}],
        ["null of the request", true, ({ sessionId }) => ({ sessionId }), w.orNull(nulls)],
      ]) {
        const made = await w.session({ userId, ...HERE });
        assert.equal((await w.good("session.validate", { sessionToken: made.sessionToken, ...HERE })).hasDeviceRegistered, false);
        const from = more.ipAddress ? HERE : {};
        const signed = await device.sign({ challenge: await challenge(w, from), session: made.sessionId, key: true, ...LOGIN });
        const data = { ...whom(made), signedDeviceChallenge: signed, rememberDevice: remember, ...more };
        const said = await w.good("session.device.register", data);
        assert.equal(said.newDeviceDetected, name === "token", name);
        assert.equal((await w.server.session(made.sessionId)).device.id, device.thumbprint);
        const fresh = await proof(w, { device, sessionId: made.sessionId });
        const ask = { sessionToken: made.sessionToken, ...HERE, deviceVerification: shown(fresh) };
        assert.equal((await w.good("session.validate", ask)).hasDeviceRegistered, true);
      }
      assert.equal((await w.server.devices(userId)).length, 1);
    },
  ],
  ...BOTH.map((path) => [
    `a request with its proof passes, without it not (${path})`,
    async (w) => {
      const one = await bound(w);
      const ask = { sessionToken: one.sessionToken, ...HERE };
      const good = async (deviceVerification, more) => {
        const said = await w.good(path, { ...ask, deviceVerification, ...more });
        assert.deepEqual([said.hasDeviceRegistered, said.sessionId], [true, one.sessionId]);
      };
      await good(shown(await proof(w, one)));
      await good({ signedDeviceChallenge: await proof(w, one), ...w.orNull({ requestUrl: null, requestMethod: null }) });
      await good({ signedDeviceChallenge: await proof(w, one) });
      await good(shown(await proof(w, one), { ...ORDERS, url: "https://APP.example:443/orders?page=2#top" }));
      await w.bad(path, ask, "DeviceVerificationRequired", 403, unit);
      await w.bad(path, { ...ask, ...w.orNull({ deviceVerification: null }), ignoreDeviceForVerification: false }, "DeviceVerificationRequired", 403, unit);
      // A page that is opened cannot carry one.
      assert.equal((await w.good(path, { ...ask, ignoreDeviceForVerification: true })).hasDeviceRegistered, true);
      assert.equal(await w.server.endOf(one.sessionId), undefined, "nothing has ended");
      await w.server.told("device_proof_missing", { session: one.sessionId });
    },
  ]),
  ...BOTH.map((path) => [
    `a stale proof brings the challenge for the next try (${path})`,
    async (w) => {
      const one = await bound(w);
      const ask = { sessionToken: one.sessionToken, ...HERE };
      const used = await proof(w, one);
      await w.good(path, { ...ask, deviceVerification: shown(used) });
      const stale = async (signed) => w.bad(path, { ...ask, deviceVerification: shown(signed) }, "NewDeviceChallengeRequired", 403);
      for (const signed of [
        used,
        await proof(w, one, { challenge: await challenge(w, { ...HERE, userAgent: CHROME }) }),
        await proof(w, one, { challenge: await challenge(w, { ...HERE, ipAddress: "203.0.113.8" }) }),
        await proof(w, one, { challenge: await challenge(w, {}) }),
        await proof(w, one, { challenge: "dch_made_up" }),
        await proof(w, one, { claims: { iat: now() - 120 } }),
        await proof(w, one, { claims: { iat: now() + 60 } }),
      ]) {
        const { deviceChallenge, expiresAt } = await stale(signed);
        near(expiresAt, now() + 300, 5);
        const again = await proof(w, one, { challenge: deviceChallenge });
        await w.good(path, { ...ask, deviceVerification: shown(again) });
        await stale(again);
      }
    },
  ]),
  ...BOTH.map((path) => [
    `where a device is a must, a session without one does not pass (${path})`,
    async (w) => {
      const made = await w.session({ ...HERE, tags: ["device:required"] });
      const ask = { sessionToken: made.sessionToken, ...HERE };
      await w.bad(path, ask, "DeviceVerificationRequired", 403, unit);
      const device = await Device.make();
      const signed = await device.sign({ challenge: await challenge(w), session: made.sessionId, key: true, ...LOGIN });
      await w.good("session.device.register", { sessionToken: made.sessionToken, signedDeviceChallenge: signed, rememberDevice: true, ...HERE, ...of(LOGIN) });
      await w.bad(path, ask, "DeviceVerificationRequired", 403, unit);
      await w.good(path, { ...ask, deviceVerification: shown(await proof(w, { device, ...made })) });
    },
  ]),
];
