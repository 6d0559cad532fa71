// What stands before and beside Handstamp: the application's own server. It serves pages, logs people in through the
// management API, and can be the proxy that passes `/v1/auth` on, and loses answers when a test says so.
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { API, parsed, send } from "./handstamp.mjs";

const AXIOS = new URL("../node_modules/axios/dist/axios.min.js", import.meta.url);
const EMPTY = "<!doctype html><title>empty</title>";

export class Front {
  /** Pages by path: a string is HTML, anything else is called as `(request, response, front)`. */
  pages = { "/": EMPTY };
  /** Says of an answer on its way to the browser, `(request, answer) => boolean`, whether it gets lost. */
  loses = () => false;
  /** Says of an answer on its way to the browser for how long it is held up: a promise, or nothing. */
  holds = () => undefined;
  /** The address of a server that answers everything but `/v1/`; without one, the pages here do. */
  site = undefined;
  /** Answers that were lost. */
  lost = 0;
  /** Set-Cookie lines of every answer that was passed on or lost, with the time: what the server sent, not what arrived. */
  sent = [];

  static async start(handstamp, { tls = false, pages = {} } = {}) {
    const own = new Front();
    own.handstamp = handstamp;
    Object.assign(own.pages, pages);
    const answer = (request, response) =>
      own.#answer(request, response).catch((error) => response.destroyed || response.writeHead(500).end(String(error)));
    const files = tls && { cert: readFileSync(handstamp.cert), key: readFileSync(handstamp.key) };
    own.server = tls ? https.createServer(files, answer) : http.createServer(answer);
    await new Promise((ready) => own.server.listen(0, "127.0.0.1", ready));
    own.port = own.server.address().port;
    return own;
  }

  async #answer(request, response) {
    const path = new URL(request.url, API).pathname;
    if (this.site && !path.startsWith("/v1/")) return this.pass(request, response, undefined, this.site);
    const page = this.pages[path];
    if (path === "/login" && request.method === "POST") return this.#login(request, response);
    if (path === "/login" && request.method === "OPTIONS") return this.#preflight(request, response);
    if (path === "/axios.js") return response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(AXIOS));
    if (typeof page === "function") return page(request, response, this);
    if (page) return response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
    if (path.startsWith("/v1/")) return this.pass(request, response);
    response.writeHead(404).end();
  }

  /** The password was right (there is none here): a session is made, and its cookies go to the browser as they are. */
  async #login(request, response) {
    const { user_id, tags = [], data = {} } = parsed(await text(request)) ?? {};
    const client = { ip: "127.0.0.1", user_agent: request.headers["user-agent"] };
    const made = await this.handstamp.api("POST", "/v1/sessions", { user_id, tags, data, ...client });
    response.setHeader("set-cookie", made.set_cookie);
    response.writeHead(200, { "content-type": "application/json", ...cors(request) }).end(JSON.stringify({ id: made.session.id }));
  }

  #preflight(request, response) {
    response.writeHead(204, { ...cors(request), "access-control-allow-headers": "content-type" }).end();
  }

  /** On to Handstamp (or another server), and back unless it gets lost. */
  async pass(request, response, body, to = this.handstamp.url) {
    const target = new URL(to);
    const { request: ask } = target.protocol === "https:" ? https : http;
    const before = request.headers["x-forwarded-for"];
    const peer = request.socket.remoteAddress.replace("::ffff:", "");
    const headers = {
      ...request.headers,
      "x-forwarded-for": before ? `${before}, ${peer}` : peer,
      "x-forwarded-proto": this.server instanceof https.Server ? "https" : "http",
    };
    const passed = ask({
      host: target.hostname, port: target.port, servername: "localhost", rejectUnauthorized: false,
      method: request.method, path: request.url, headers, agent: false,
    });
    passed.on("error", () => response.destroy());
    passed.on("response", async (answer) => {
      for (const line of answer.headers["set-cookie"] ?? []) this.sent.push({ line, at: Date.now() });
      if (this.loses(request, answer)) {
        this.lost += 1;
        return request.socket.destroy();
      }
      await this.holds(request, answer);
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    if (body === undefined) request.pipe(passed);
    else passed.end(body);
  }

  close() {
    this.server.closeAllConnections();
    return new Promise((gone) => this.server.close(gone));
  }
}

/** The application's own cross-origin rule for its login, in the one test that logs in from another site. */
const cors = (request) =>
  request.headers.origin && {
    "access-control-allow-origin": request.headers.origin,
    "access-control-allow-credentials": "true",
    vary: "Origin",
  };

export async function text(request) {
  let whole = "";
  for await (const part of request) whole += part;
  return whole;
}

export { send };
