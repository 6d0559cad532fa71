// Headless Chromium, told by a resolver rule where the hosts of the tests are, so that no name service is asked.
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { env } from "node:process";
import { chromium } from "playwright-core";

const FOUND = [env.CHROMIUM, ...env.PATH.split(delimiter).flatMap((dir) => [join(dir, "chromium"), join(dir, "chromium-browser")])];

/** `hosts`: the port of this machine for each host name; `options` go to playwright's launch. */
export function launch(hosts = {}, options = {}) {
  const executablePath = FOUND.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("Chromium is missing: install it (apt-get install chromium), or name it in CHROMIUM");
  const rules = Object.entries(hosts).map(([host, port]) => `MAP ${host} 127.0.0.1:${port}`);
  // Every other name leads nowhere: what a page asks for by mistake fails here, not in the network.
  rules.push("MAP * ~NOTFOUND", "EXCLUDE localhost", "EXCLUDE 127.0.0.1");
  return chromium.launch({
    executablePath,
    headless: true,
    args: [
      "--no-sandbox", // the tests also run as root, where Chromium has none
      "--ignore-certificate-errors",
      `--host-resolver-rules=${rules.join(",")}`,
      ...["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
      ...["--disable-background-networking", "--disable-component-update", "--disable-domain-reliability"],
    ],
    ...options,
  });
}

/** A `fetch` made by the page itself, with its cookies. What the browser refuses to do or to show is `failed`. */
export const call = (page, method, url, headers = {}, more = {}) =>
  page.evaluate(
    async ({ method, url, headers, more }) => {
      try {
        const answer = await fetch(url, { method, headers, credentials: "include", ...more });
        const text = await answer.text();
        let body;
        try {
          body = JSON.parse(text);
        } catch {
          body = undefined;
        }
        return { status: answer.status, headers: Object.fromEntries(answer.headers), text, body };
      } catch (error) {
        return { failed: String(error) };
      }
    },
    { method, url, headers, more },
  );

/** Logs in as the page would: a call to the application's own server. Gives back the id of the session. */
export async function login(page, user_id, { at = "", ...more } = {}) {
  const headers = { "content-type": "application/json" };
  const answer = await call(page, "POST", `${at}/login`, headers, { body: JSON.stringify({ user_id, ...more }) });
  if (answer.status !== 200) throw new Error(`login: ${JSON.stringify(answer)}`);
  return answer.body.id;
}

/** The value of a cookie that scripts may read, decoded; null without one. */
export const readable = (page, name = "XSRF-TOKEN") =>
  page.evaluate((name) => {
    const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
    return found === undefined ? null : decodeURIComponent(found.slice(name.length + 1));
  }, name);

/** The cookie of that name in the browser's jar, with its attributes. */
export const cookie = async (context, name, url) =>
  (await context.cookies(url)).find((one) => one.name === name);
