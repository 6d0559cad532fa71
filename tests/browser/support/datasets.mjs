// The small upstream behind forward-auth: `GET` and `POST /v1/datasets`. It knows no session; whoever is before it asks
// Handstamp and says who the user is.
import { text } from "./front.mjs";
import { parsed, send } from "./handstamp.mjs";

const IDENTITY = ["x-session-id", "x-session-user", "x-session-tags", "x-session-groups", "x-session-data"];

/**
 * The gate and the upstream as a page of the front (`pages`); `origin` is who may call it from a browser. The gate asks
 * with `gate.query`.
 */
export function datasets(origin, gate = { query: "" }) {
  const kept = [];
  return async (request, response, front) => {
    const cors = {
      "access-control-allow-origin": origin,
      "access-control-allow-credentials": "true",
      "access-control-allow-methods": "GET, POST, OPTIONS",
      "access-control-allow-headers": "Content-Type, X-XSRF-TOKEN",
      vary: "Origin",
    };
    if (request.method === "OPTIONS") return response.writeHead(204, cors).end();
    const verdict = await ask(front.handstamp, gate, request);
    const json = { ...cors, "content-type": "application/json", "cache-control": "no-store" };
    const cookies = verdict.headers["set-cookie"];
    if (cookies) json["set-cookie"] = cookies;
    if (verdict.status !== 200) return response.writeHead(verdict.status, json).end(verdict.text);
    // What the client called itself is gone; what Handstamp says counts.
    for (const name of IDENTITY) request.headers[name] = verdict.headers[name];
    upstream(kept, request, await text(request), (status, body) => response.writeHead(status, json).end(JSON.stringify(body)));
  };
}

const ask = (handstamp, gate, request) =>
  send(`${handstamp.forwardAuth}/v1/forward-auth${gate.query}`, {
    headers: {
      cookie: request.headers.cookie ?? "",
      "user-agent": request.headers["user-agent"] ?? "",
      ...Object.fromEntries(["origin", "sec-fetch-site", "x-xsrf-token"].flatMap((name) => (request.headers[name] ? [[name, request.headers[name]]] : []))),
      "x-forwarded-for": request.socket.remoteAddress.replace("::ffff:", ""),
      "x-forwarded-method": request.method,
      "x-forwarded-proto": request.socket.encrypted ? "https" : "http",
      "x-forwarded-host": request.headers.host,
      "x-forwarded-uri": request.url,
    },
  });

function upstream(kept, request, body, answer) {
  const user = decodeURIComponent(request.headers["x-session-user"]);
  if (request.method === "GET") return answer(200, { items: kept.filter((one) => one.owner === user) });
  if (request.method !== "POST") return answer(405, { error: "GET and POST only" });
  const made = { id: `ds_${kept.length + 1}`, owner: user, ...parsed(body) };
  kept.push(made);
  answer(201, made);
}
