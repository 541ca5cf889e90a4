// Asks the daemon. Everything is relative to where the page came from.

/** A failure with the words of the daemon, or of the browser where there was no answer. */
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

export async function get(path, query = {}) {
  const asked = new URLSearchParams(query).toString();
  return read(await fetch(asked ? `${path}?${asked}` : path, { cache: "no-store" }));
}

/** A command. The token goes into the header of this one request and nowhere else. */
export async function post(path, body, token) {
  // A header is bytes: the token's, in UTF-8.
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  const headers = { Authorization: `Bearer ${bytes}`, "Content-Type": "application/json" };
  return read(await fetch(path, { method: "POST", headers, body: JSON.stringify(body), cache: "no-store" }));
}

async function read(answer) {
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, content.error ?? `the daemon answered ${answer.status}`);
  return content;
}
