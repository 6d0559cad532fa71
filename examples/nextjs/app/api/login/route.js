// The login: this server checks the password, Handstamp makes the session.
import { create } from "../../../lib/handstamp.js";
import { checkPassword } from "../../../lib/users.js";

const go = (location, cookies = []) => {
  const answer = new Response(null, { status: 303, headers: { location, "cache-control": "no-store" } });
  for (const cookie of cookies) answer.headers.append("set-cookie", cookie); // both cookies, as they are
  return answer;
};

export async function POST(request) {
  // A form of another origin must not log anybody in: not as somebody else either.
  const origin = request.headers.get("origin");
  if (!URL.canParse(origin) || new URL(origin).host !== request.headers.get("host"))
    return new Response("This form came from another site.", { status: 403 });
  const form = await request.formData();
  const user = await checkPassword(form.get("username"), form.get("password"));
  if (!user) return go("/login?wrong");
  const made = await create(user);
  return go("/", made.set_cookie);
}
