// What the server is asked, with the key if it wants one.

const KEY = "kvasir-key";

/** The key is gone with the tab. */
export const apiKey = {
  get: () => sessionStorage.getItem(KEY),
  set: (key) => sessionStorage.setItem(KEY, key),
};

/** An answer that says why there is none. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Asks; throws `Refused` with the server's own words. */
export async function ask(path, { body, signal } = {}) {
  const headers = {};
  if (apiKey.get()) headers.Authorization = `Bearer ${apiKey.get()}`;
  if (body) headers["Content-Type"] = "application/json";
  const method = body ? "POST" : "GET";
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
  if (response.ok) return response;
  if (response.status === 401) document.dispatchEvent(new Event("key-wanted"));
  const said = await response.json().catch(() => null);
  throw new Refused(response.status, said?.error?.message ?? `the server answered ${response.status}`);
}

/** The data of server-sent events, parsed, up to the mark of the end. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the answer broke off; is the server still there?");
    const lines = (unread + value).split("\n");
    unread = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line === "data: [DONE]") return;
      const data = JSON.parse(line.slice("data: ".length));
      if (data.error) throw new Refused(data.error.code, data.error.message);
      yield data;
    }
  }
}
