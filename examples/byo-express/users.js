// Who may log in, and with which password. Handstamp never sees a password: checking it is the
// application's own work, and this file stands for whatever your application uses.
//
// Two demo users: `alice` with the password `down the rabbit hole`, `bob` with `can we fix it`.
// A line of your own: node users.js 'the password'
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { argv } from "node:process";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

const COST = { N: 16384, r: 8, p: 5 };
const derive = promisify(scrypt);

const users = new Map([
  ["alice", { name: "Alice Liddell", plan: "tea party", tags: ["role:member"], password: "jQjILqAyR1KNQigNl4o-cw:NB-Wt1HcRMhPdxvmfdwQB2x2U1BuugcyrtmszkZgLn0" }],
  ["bob", { name: "Bob Builder", plan: "crane", tags: ["role:admin"], password: "lZvEACdNMCD8lXFTdeYV1Q:DEBjEWV1qycK1AmgH53DPiyS8KdqWzjYE-IUUckVHbY" }],
]);

// Checked when the name is unknown, so that a wrong name takes as long as a wrong password.
const decoy = { password: "uS_d9vq56djN4EZt47tH8A:xEovSIbZZUSfi0Ysb8O-BzW7O-LuIcuZpAfBmobIE2E" };

/** The user, or null when the name or the password is wrong (which of the two, nobody learns). */
export async function checkPassword(name, password) {
  if (typeof name !== "string" || typeof password !== "string") return null;
  const user = users.get(name);
  const [salt, expected] = (user ?? decoy).password.split(":").map((part) => Buffer.from(part, "base64url"));
  const same = timingSafeEqual(await derive(password, salt, expected.length, COST), expected);
  return user && same ? { id: name, ...user } : null;
}

async function hash(password) {
  const salt = randomBytes(16);
  const key = await derive(password, salt, 32, COST);
  return `${salt.toString("base64url")}:${key.toString("base64url")}`;
}

if (import.meta.url === pathToFileURL(argv[1] ?? "").href) console.log(await hash(argv[2] ?? ""));
