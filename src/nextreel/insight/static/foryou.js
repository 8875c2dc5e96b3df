// What one user sees, as a streaming service shows it. Play and rate write real events to Kafka; the rows follow.

import { get, post } from "./api.js";
import { el, say } from "./dom.js";
import { go, settle, state } from "./state.js";

const COUNT = 14;
// An event is in the next answer within a tenth of a second; where the machine is busy it may take longer.
const LOOKS_MS = [120, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000];

export class ForYou {
  constructor(place) {
    this.place = place;
    this.names = new Map();
    this.rows = el("div", { "aria-live": "off" });
    this.about = el("p", { class: "quiet" });
    this.place.replaceChildren(
      el("div", { class: "title" }, el("h2", {}, "For you"), this.about),
      el("div", { class: "who" }, this.#picker(), this.#stranger()),
      this.rows,
    );
  }

  close() {
    this.isClosed = true;
  }

  async refresh() {
    const own = (this.turn = (this.turn ?? 0) + 1);
    if (!state.person && !state.likes.length) await this.#pickFirst();
    const { person, likes } = state;
    const rows = await this.#lists(person, likes);
    if (this.isClosed || own !== this.turn || person !== state.person || likes !== state.likes) return; // another is asked for since
    this.#show(rows);
    await this.#offer();
  }

  async #pickFirst() {
    const [first] = await get("v1/insight/choices/user?count=1");
    if (first) {
      this.names.set(first.value, first.label);
      if (!this.isClosed && !state.likes.length) settle({ person: first.value });
    }
  }

  #picker() {
    const list = el("ul", { role: "listbox", id: "people", "aria-label": "Users" });
    const input = el("input", {
      type: "search", id: "person", role: "combobox", "aria-expanded": "false", "aria-controls": "people", "aria-autocomplete": "list",
      placeholder: "Search users", autocomplete: "off",
    });
    this.input = input;
    let found = [];
    let at = -1;
    let asked = 0;
    const mark = () => {
      [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === at)));
      if (at >= 0) input.setAttribute("aria-activedescendant", `person-${at}`);
      else input.removeAttribute("aria-activedescendant");
    };
    const close = () => {
      asked += 1;
      list.replaceChildren();
      input.setAttribute("aria-expanded", "false");
      at = -1;
      mark();
    };
    const choose = ({ value, label }) => {
      close();
      this.names.set(value, label);
      go({ person: value, likes: [] });
    };
    const search = async () => {
      const own = ++asked;
      let answer;
      try {
        answer = await get(`v1/insight/choices/user?count=20&q=${encodeURIComponent(input.value)}`);
      } catch (error) {
        if (own === asked) this.#tell(error.message);
        return;
      }
      if (own !== asked) return; // another word has been asked for since
      found = answer;
      const items = found.map((each, n) => el("li", { role: "option", id: `person-${n}`, onmousedown: () => choose(each) }, each.label === each.value ? each.label : `${each.label} (${each.value})`));
      list.replaceChildren(...items);
      input.setAttribute("aria-expanded", String(items.length > 0));
      at = -1;
      mark();
    };
    input.addEventListener("focus", () => {
      input.select();
      search();
    });
    input.addEventListener("input", search);
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && found.length) {
        at = (at + step + found.length) % found.length;
        mark();
        event.preventDefault();
      } else if (event.key === "Enter" && (found[at] ?? found[0])) choose(found[at] ?? found[0]);
      else if (event.key === "Escape") close();
    });
    return el("div", {}, el("label", { for: "person" }, "User"), el("div", { class: "combo" }, input, list));
  }

  #stranger() {
    this.likes = el("fieldset", { class: "likes" }, el("legend", {}, "or say what you like, without being one"));
    return el("div", {}, this.likes);
  }

  // Offer genres to a stranger, once.
  async #offer() {
    const offered = () => this.likes.querySelector("button");
    const genres = offered() ? [] : await get("v1/insight/choices/genre?count=20");
    if (offered()) return;
    for (const { value, label } of genres) {
      const button = el("button", { type: "button", "aria-pressed": "false" }, label);
      button.addEventListener("click", () => {
        const left = state.likes.filter((like) => like !== value);
        const likes = left.length < state.likes.length ? left : [...left, value];
        go({ person: "", likes });
      });
      button.dataset.genre = value;
      button.setAttribute("aria-pressed", String(state.likes.includes(value)));
      this.likes.append(button);
    }
  }

  // Return [title, what it says, answer] of each row.
  async #lists(person, likes) {
    if (!person) {
      const preferences = { genres: likes };
      const top = await post("v1/recommendations", { preferences, count: COUNT, explain: true });
      const rows = [["Top picks", "by what you like", top]];
      return [...rows, ["Trending", "what users watch these days", await get(`v1/trending?count=${COUNT}`)]];
    }
    const user = `v1/users/${encodeURIComponent(person)}`;
    const query = `count=${COUNT}&user_id=${encodeURIComponent(person)}`;
    const [top, past, trending] = await Promise.all([
      get(`${user}/recommendations?count=${COUNT}&explain=true`), get(`${user}/history?count=50`), get(`v1/trending?${query}`),
    ]);
    const rows = [["Top picks", "", top]];
    const liked = past.items?.find((each) => (each.rating ?? 0) >= 4 || each.event === "complete" || each.event === "play");
    if (liked) {
      const { items } = await get(`v1/titles/${encodeURIComponent(liked.content_id)}/similar?${query}`).catch(() => ({ items: [] }));
      rows.push([`Because you watched ${liked.title ?? liked.content_id}`, "", { items, strategy: "similar" }]);
    }
    rows.push(["Trending", "what users watch these days", trending]);
    const genre = favourite(top.items);
    if (genre) rows.push([`New in ${genre}`, "what came last", await get(`v1/new?${query}&genre=${encodeURIComponent(genre)}`)]);
    return rows;
  }

  #show(rows) {
    const [, , top] = rows[0];
    if (document.activeElement !== this.input) this.input.value = state.person ? (this.names.get(state.person) ?? state.person) : "";
    for (const button of this.place.querySelectorAll("[data-genre]")) button.setAttribute("aria-pressed", String(state.likes.includes(button.dataset.genre)));
    const unknown = state.person && top.strategy === "popular" ? `nothing is known of ${state.person}'s taste: ` : "";
    this.about.textContent = `${unknown}${STRATEGIES[top.strategy] ?? top.strategy}; model ${top.model}`;
    this.rows.replaceChildren(...rows.filter(([, , answer]) => answer.items.length).map((row) => this.#reel(...row)));
    if (!this.rows.children.length) this.rows.append(el("p", { class: "empty" }, "There is nothing to recommend yet."));
    this.shown = shownOf(top);
    this.top = new Set(top.items.map((item) => item.content_id));
  }

  #reel(title, note, answer) {
    const items = answer.items.map((each) => this.#title(each, title === "Top picks" && this.top && !this.top.has(each.content_id)));
    const list = el("ol", { tabindex: "0", "aria-label": title }, ...items);
    return el("section", { class: "reel", "data-strategy": answer.strategy }, el("div", {}, el("h3", {}, title), note && el("p", { class: "quiet" }, note)), list);
  }

  #title(each, isFresh) {
    const name = each.title ?? each.content_id;
    const poster = el("div", { class: "poster", vars: look(each) },
      el("b", {}, name), el("span", {}, [each.type, each.decade, (each.genres ?? [])[0]].filter(Boolean).join(" · ")));
    const stars = each.predicted_rating === undefined || each.predicted_rating === null ? "" : `${each.predicted_rating.toFixed(1)} ★`;
    const rate = el("select", { "aria-label": `Rate ${name}`, onchange: (event) => this.#write(each, "rate", Number(event.target.value)) },
      el("option", { value: "" }, "Rate"), ...[5, 4, 3, 2, 1].map((n) => el("option", { value: n }, `${n} ★`)));
    const act = el("div", { class: "act", hidden: !state.person },
      el("button", { type: "button", "aria-label": `Play ${name}`, onclick: () => this.#write(each, "play") }, "▶ Play"), rate);
    return el("li", { class: isFresh ? "fresh" : "", "data-title": each.content_id }, poster,
      el("p", { class: "told" }, el("span", { title: "predicted rating" }, stars), el("span", { class: "quiet" }, each.age_rating ?? "")),
      el("p", { class: "reason" }, reason(each)), act);
  }

  async #write(each, event, rating) {
    const name = each.title ?? each.content_id;
    const { person } = state;
    const before = this.shown;
    try {
      await post("v1/interactions", {
        user_id: person, content_id: each.content_id, event, ...(rating ? { rating } : {}), device: "web",
      });
    } catch (error) {
      this.#tell(error.message);
      return;
    }
    say(event === "play" ? `Playing ${name}: Kafka has it` : `${name} rated ${rating}: Kafka has it`);
    for (const wait of LOOKS_MS) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (this.isClosed || state.person !== person) return;
      try {
        await this.refresh();
      } catch (error) {
        this.#tell(error.message);
      }
      if (this.shown !== before && !this.top.has(each.content_id)) return; // it was seen now
    }
  }

  #tell(text) {
    say(text);
    this.about.textContent = text;
  }
}

const STRATEGIES = {
  personal: "by ratings and what was watched", preferences: "by what is declared to be liked", popular: "by what is popular",
};

const shownOf = (answer) => answer.items.map((each) => `${each.content_id} ${each.score}`).join(" ");

function reason(each) {
  const because = each.reason?.because_of?.[0];
  if (because) return `because of ${because.title ?? because.content_id}`;
  const liked = each.reason?.preferences?.[0];
  return liked ? `for a liking for ${liked.value}` : "";
}

function favourite(items) {
  const counts = new Map();
  for (const { genres } of items) for (const genre of genres ?? []) counts.set(genre, (counts.get(genre) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}

// A poster's colours: those of its genre, turned a little by its id, always the same.
function look({ content_id, genres }) {
  const of = (text) => Array.from(text).reduce((sum, c) => (sum * 31 + c.codePointAt(0)) >>> 0, 7);
  const [genre, own] = [Math.round(of(genres?.[0] ?? "") * 137.508) % 360, of(content_id)];
  return { "--a": String(genre), "--b": String((genre + 30 + (own % 90)) % 360), "--x": `${20 + (own % 60)}%`, "--y": `${35 + ((own >> 6) % 40)}%`, "--turn": `${120 + ((own >> 3) % 120)}deg` };
}
