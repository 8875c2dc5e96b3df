// The bar of filters: what is chosen holds in every view.

import { get } from "./api.js";
import { el } from "./dom.js";
import { called } from "./format.js";
import { go, isChosen, setRange, state, toggle } from "./state.js";

const OFFERED = ["user", "title", "genre", "type", "decade", "country", "age_group", "device"];

export function show(place, dimensions) {
  const open = place.querySelector("details[open]")?.dataset.name;
  const extra = Object.keys(state.filters).filter((name) => !OFFERED.includes(name));
  place.replaceChildren(
    ...[...OFFERED, ...extra].map((name) => offered(name, dimensions[name].title, name === open)),
    stars(), days("since", "From"), days("until", "to"),
    ...(isAny() ? [el("button", { class: "clear", type: "button", onclick: clear }, "Clear all")] : []),
  );
}

const isAny = () => Object.keys(state.filters).length + Object.keys(state.ranges).length > 0;
const clear = () => go({ filters: {}, ranges: {} });

function offered(name, title, open) {
  const chosen = state.filters[name] ?? [];
  const text = chosen.length === 1 ? `${title}: ${called(name, typed(name, chosen[0]), names)}` : title;
  const list = el("div", { role: "group", "aria-label": title });
  const search = el("input", { type: "search", "aria-label": `Search ${title.toLowerCase()}`, placeholder: "Search" });
  const panel = el("div", { class: "panel" }, search, list);
  const details = el(
    "details", { class: chosen.length ? "filter set" : "filter", "data-name": name },
    el("summary", {}, chosen.length > 1 ? `${title}: ${chosen.length}` : text), panel,
  );
  let waiting;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => fill(list, name, search.value), 150);
  });
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    for (const other of document.querySelectorAll(".filter[open]")) if (other !== details) other.open = false;
    fill(list, name, search.value);
  });
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    details.open = false;
    details.querySelector("summary").focus();
  });
  if (open) details.open = true;
  return details;
}

// Names of users and titles that have been shown.
const names = Object.create(null);
export const learn = (labels) => Object.assign(names, labels);
const typed = (name, value) => (["weekday", "hour", "watched"].includes(name) ? Number(value) : value);

async function fill(list, name, words) {
  const own = (list.asked = (list.asked ?? 0) + 1);
  const found = await get(`/v1/insight/choices/${name}?count=60&q=${encodeURIComponent(words)}`);
  if (own !== list.asked) return; // another word has been asked for since
  for (const each of found) names[each.value] = each.label;
  const chosen = (state.filters[name] ?? []).filter((value) => !found.some((each) => each.value === value));
  const all = [...(words ? [] : chosen.map((value) => ({ value }))), ...found];
  list.replaceChildren(
    ...all.map(({ value }) =>
      el("label", {},
        el("input", { type: "checkbox", checked: isChosen(name, value), onchange: () => toggle(name, value) }),
        called(name, typed(name, value), names)),
    ),
  );
  if (!all.length) list.replaceChildren(el("p", { class: "quiet" }, "nothing found"));
}

function stars() {
  const isSet = state.ranges.min_rating || state.ranges.max_rating;
  const choice = (name, label) => {
    const values = ["", ...Array.from({ length: 10 }, (_, n) => String((n + 1) / 2))];
    const options = values.map((v) => el("option", { value: v, selected: (state.ranges[name] ?? "") === v }, v ? `${v} ★` : "any"));
    return el("label", {}, `${label} `, el("select", { onchange: (e) => setRange(name, e.target.value) }, ...options));
  };
  return el(
    "details", { class: isSet ? "filter set" : "filter", "data-name": "stars" },
    el("summary", {}, isSet ? `Stars: ${state.ranges.min_rating ?? "0.5"} to ${state.ranges.max_rating ?? "5"}` : "Stars"),
    el("div", { class: "panel range" }, choice("min_rating", "from"), choice("max_rating", "to")),
  );
}

function days(name, label) {
  const value = state.ranges[name] ?? "";
  return el("label", { class: "quiet" }, `${label} `,
    el("input", { type: "date", value, onchange: (event) => setRange(name, event.target.value) }));
}

document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll(".filter[open]")) if (!open.contains(event.target)) open.open = false;
});
