// The page of whoever is logged in, rendered on the server: the session is asked for before anything is sent.
import { redirect } from "next/navigation";
import { publicUrl, session } from "../lib/handstamp.js";
import { notes } from "../lib/notes.js";
import Devices from "./devices.js";

export default async function Page() {
  const found = await session();
  if (!found) redirect("/login");
  return (
    <>
      <h1>Hello, <span id="user">{found.user.data.name}</span></h1>
      <h2>Notes</h2>
      <ul id="notes">{(notes[found.user.id] ?? []).map((note) => <li key={note}>{note}</li>)}</ul>
      <Devices api={publicUrl()} csrf={found.csrf_token} />
    </>
  );
}
