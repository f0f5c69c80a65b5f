// The page is a client like any other: it asks this server's public API over HTTP, with the
// session's cookie. Everything that goes over the wire goes through here.

/** What the server refused, or that it could not be reached (`status` 0). */
export class Refused extends Error {
  constructor(status, details = {}) {
    super(details.message ?? "");
    this.status = status;
    this.code = details.code ?? "";
    this.details = details;
  }
}

/** Called with a Refused when a request was sent away for want of a key; set by the page. */
export const on_signed_out = { call: () => {} };

async function request(method, path, { body, signal, type } = {}) {
  const headers = body === undefined ? {} : { "content-type": type ?? "application/json" };
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: text, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { code: "unreachable" });
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

async function refusal(answer) {
  let details = {};
  try {
    details = (await answer.json()).error ?? {};
  } catch { /* a proxy's page, or nothing: the status must do */ }
  const refused = new Refused(answer.status, details);
  if (answer.status === 401) on_signed_out.call(refused);
  return refused;
}

const json_of = async (answer) => (answer.status === 204 ? null : answer.json());

export const get = async (path, options) => json_of(await request("GET", path, options));
export const post = async (path, body = {}, options = {}) => json_of(await request("POST", path, { body, ...options }));
export const put = async (path, body) => json_of(await request("PUT", path, { body }));
export const patch = async (path, body) => json_of(await request("PATCH", path, { body }));
export const remove = async (path) => json_of(await request("DELETE", path));
export const get_text = async (path) => (await request("GET", path)).text();

/**
 * The events of a stream, one by one: `{name, data}` with data parsed.
 *
 * Ends at `[DONE]` or with the connection. `post_body` undefined asks with GET.
 */
export async function* events(path, post_body, signal) {
  const method = post_body === undefined ? "GET" : "POST";
  const answer = await request(method, path, { body: post_body, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      let piece;
      try {
        piece = await reader.read();
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Refused(0, { code: "cut" });
      }
      if (piece.done) return;
      rest += piece.value;
      const frames = rest.split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        const event = event_of(frame);
        if (event === null) continue;
        if (event.data === "[DONE]") return;
        yield { name: event.name, data: JSON.parse(event.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function event_of(frame) {
  let name = "message";
  const data = [];
  for (const line of frame.split("\n")) {
    if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    else if (line.startsWith("event:")) name = line.slice(6).trim();
  }
  return data.length ? { name, data: data.join("\n") } : null;
}

/** A name for a path: slashes and colons of model names are kept apart from the path's own. */
export const in_path = (name) => name.split("/").map(encodeURIComponent).join("/");
