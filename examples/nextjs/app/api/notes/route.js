// The notes as data, for scripts: a route handler that passes the cookie on to Handstamp.
import { session } from "../../../lib/handstamp.js";
import { notes } from "../../../lib/notes.js";

export async function GET() {
  const found = await session();
  if (!found) return Response.json({ error: "Not logged in." }, { status: 401 });
  return Response.json(notes[found.user.id] ?? [], { headers: { "cache-control": "no-store" } });
}
