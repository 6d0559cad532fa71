// A wire between a client and the server that passes every byte on as it is, and keeps what went over it: connections,
// requests and answers, as they were sent and not as an HTTP library would tell them.
import { once } from "node:events";
import net from "node:net";

/** Reads one direction of a connection: HTTP/1.1 messages, one after the other. */
class Messages {
  #kept = Buffer.alloc(0);
  constructor(found) {
    this.found = found;
  }

  feed(chunk) {
    this.#kept = Buffer.concat([this.#kept, chunk]);
    for (let end; (end = this.#kept.indexOf("\r\n\r\n")) >= 0; ) {
      const [start, ...lines] = this.#kept.subarray(0, end).toString("latin1").split("\r\n");
      const headers = {};
      for (const line of lines) {
        const colon = line.indexOf(":");
        const name = line.slice(0, colon).toLowerCase();
        headers[name] = [...(headers[name] ? [headers[name]] : []), line.slice(colon + 1).trim()].join(", ");
      }
      const rest = this.#kept.subarray(end + 4);
      const whole = headers["transfer-encoding"] ? chunks(rest) : counted(rest, Number(headers["content-length"] ?? 0));
      if (!whole) return;
      this.#kept = whole.rest;
      this.found({ start, headers, body: whole.body.toString() });
    }
  }
}

const counted = (rest, length) =>
  rest.length < length ? undefined : { body: rest.subarray(0, length), rest: rest.subarray(length) };

function chunks(rest) {
  const parts = [];
  for (;;) {
    const line = rest.indexOf("\r\n");
    if (line < 0) return;
    const length = parseInt(rest.subarray(0, line).toString(), 16);
    if (rest.length < line + 2 + length + 2) return;
    parts.push(rest.subarray(line + 2, line + 2 + length));
    rest = rest.subarray(line + 2 + length + 2);
    if (length === 0) return { body: Buffer.concat(parts), rest };
  }
}

export class Relay {
  /** Every exchange that was answered: `{connection, request, answer}`, each `{start, headers, body}`. */
  exchanges = [];
  connections = 0;
  #open = new Set();

  /** `target` gives the server's address at the time of the connection. */
  static async start(target) {
    const own = new Relay();
    own.server = net.createServer((client) => own.#join(client, new URL(target())));
    own.server.listen(0, "127.0.0.1");
    await once(own.server, "listening");
    own.url = `http://127.0.0.1:${own.server.address().port}`;
    return own;
  }

  #join(client, { hostname, port }) {
    const connection = ++this.connections;
    const server = net.connect(Number(port), hostname);
    const asked = [];
    const requests = new Messages((request) => asked.push(request));
    const answers = new Messages((answer) => this.exchanges.push({ connection, request: asked.shift(), answer }));
    for (const [from, to, messages] of [
      [client, server, requests],
      [server, client, answers],
    ]) {
      this.#open.add(from);
      from.on("data", (chunk) => {
        messages.feed(chunk); // before it is passed on: who got an answer finds it here
        to.write(chunk);
      });
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#open.delete(from);
        to.destroySoon();
      });
    }
  }

  async stop() {
    for (const socket of this.#open) socket.destroy();
    this.server.close();
    await once(this.server, "close");
  }
}
