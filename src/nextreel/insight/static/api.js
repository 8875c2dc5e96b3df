// Questions to the server. Where it asks for a key, the user is asked once a tab; the key is kept in no other place.

const KEY = "nextreel-key";
let asking = null;

function headers(more = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...more, "X-API-Key": key } : more;
}

async function checked(answer, again) {
  if (answer.ok) return answer;
  if (answer.status === 401) {
    asking ??= askForKey().finally(() => (asking = null));
    await asking;
    return again();
  }
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.detail || answer.statusText || `The server answers ${answer.status}.`);
}

function askForKey() {
  return new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    const form = document.createElement("form");
    const label = document.createElement("label");
    const input = document.createElement("input");
    const button = document.createElement("button");
    form.method = "dialog";
    label.textContent = "This server asks for an API key: ";
    input.type = "password";
    input.required = true;
    button.textContent = "Use it";
    label.append(input);
    form.append(label, button);
    dialog.append(form);
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, input.value);
      dialog.remove();
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Wait for what comes over the network; where nothing does, it is said in words for whoever looks at the page.
async function reached(coming) {
  try {
    return await coming;
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error("The server does not answer.");
  }
}

export async function raw(path, signal) {
  const answer = await reached(fetch(path, { headers: headers(), signal }));
  return checked(answer, () => raw(path, signal));
}

export async function get(path, signal) {
  return reached((await raw(path, signal)).json());
}

export async function post(path, data) {
  const body = JSON.stringify(data);
  const answer = await reached(fetch(path, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body }));
  return reached((await checked(answer, () => post(path, data))).json());
}

// Server-sent events over fetch, which can send a key; on a broken line it tries again. Returns what ends it.
export function follow(path, told, lost) {
  const ending = new AbortController();
  const read = async () => {
    while (!ending.signal.aborted) {
      try {
        const reader = (await raw(path, ending.signal)).body.getReader();
        const decoder = new TextDecoder();
        let left = "";
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
          const events = (left + decoder.decode(part.value, { stream: true })).split("\n\n");
          left = events.pop();
          for (const event of events) {
            const [name, data] = event.split("\n");
            if (name.startsWith("event: ")) told(name.slice(7), JSON.parse(data.slice(6)));
          }
        }
      } catch (error) {
        if (ending.signal.aborted) return;
      }
      if (!ending.signal.aborted) lost();
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  };
  read();
  return () => ending.abort();
}
