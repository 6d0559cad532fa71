// The documented way in Next.js: a route handler that passes the session cookie on, and nothing else.
import { cookies } from "next/headers";

const API = "https://api.example.test";

export async function GET() {
  const session = (await cookies()).get("fltr_session");
  if (!session) return Response.json({ error: "Not logged in" }, { status: 401 });
  const answer = await fetch(`${API}/v1/datasets`, { headers: { Cookie: `fltr_session=${session.value}` } });
  return Response.json(await answer.json(), { status: answer.status });
}
