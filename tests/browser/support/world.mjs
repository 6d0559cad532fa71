// Handstamp, the application's server and a browser, put together in one of the topologies that docs/browsers.md draws.
import { after, before } from "node:test";
import { launch } from "./chromium.mjs";
import { Front } from "./front.mjs";
import { API, APP, Handstamp, LOGIN, OTHER } from "./handstamp.mjs";

const host = (origin) => new URL(origin).host;

/** One cookie for all hosts of the site, so that a sister host gets it too. */
export const SISTER = '[cookie]\nname = "__Secure-handstamp"\ndomain = "example.test"\ncsrf_domain = "example.test"\n';
export const origins = (...list) => `[cors]\norigins = [${list.map((one) => `"${one}"`).join(", ")}]\n`;

/**
 * For one file of tests. `api`: who answers as https://api.example.test: "own", Handstamp by its own TLS, or "front",
 * the application's server in front of it. `local`: everything on http://localhost instead, without TLS.
 */
export function world({ config, api = "own", local = false, pages, browser } = {}) {
  const here = { contexts: [] };
  before(async () => {
    here.handstamp = await Handstamp.start({ config, tls: !local });
    here.front = await Front.start(here.handstamp, { tls: !local, pages });
    const { port } = here.front;
    here.app = local ? `http://localhost:${port}` : APP;
    const hosts = { [host(APP)]: port, [host(LOGIN)]: port, [host(OTHER)]: port };
    hosts[host(API)] = api === "own" ? here.handstamp.port : port;
    here.browser = await launch(local ? {} : hosts, browser);
  });
  after(async () => {
    await here.browser?.close();
    await here.front?.close();
    await here.handstamp?.close();
  });

  /** A browser of its own, as another device is: nothing shared. */
  here.device = () => here.browser.newContext();
  /** A tab with a page of the application; without a device, on a fresh one. */
  here.tab = async (at = here.app, device) => {
    const page = await (device ?? (await here.device())).newPage();
    await page.goto(at.includes("://") ? at : here.app + at);
    return page;
  };
  return here;
}
