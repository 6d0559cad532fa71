// The client, as PropelAuth publishes it on npm. Which server it talks to is said here and nowhere else:
// an address and a key.
import { createClient } from "@propelauth/byo-node";
import { readFileSync } from "node:fs";
import { env } from "node:process";

const keyFile = env.HANDSTAMP_KEY_FILE ?? new URL("../../handstamp-data/access.key", import.meta.url);

export const client = createClient({
  url: env.HANDSTAMP_URL ?? "http://127.0.0.1:7411",
  integrationKey: (env.HANDSTAMP_KEY ?? readFileSync(keyFile, "utf8")).trim(),
});
