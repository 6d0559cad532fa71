// Waiting for a condition, never for a time.
import { setTimeout as pause } from "node:timers/promises";

/** Asks again and again until the answer is true (and gives it back), or fails with what was waited for. */
export async function until(what, ask, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s for this in vain: ${what}`);
    await pause(25);
  }
}
