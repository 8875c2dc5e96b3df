// The bar of filters: what is chosen holds in every view.

import { get } from "./api.js";
import { el } from "./dom.js";
import { called } from "./format.js";
import { go, isChosen, setRange, state, toggle } from "./state.js";

const OFFERED = ["user", "title", "genre", "type", "decade", "country", "age_group", "device"];

// Show what is chosen. What is there stays, so that an open panel keeps its place, its words and the focus.
export function show(place, dimensions) {
  const extra = Object.keys(state.filters).filter((name) => !OFFERED.includes(name));
  const wanted = [...OFFERED, ...extra];
  if (place.dataset.offered !== wanted.join() || !place.children.length) {
    place.dataset.offered = wanted.join();
    place.replaceChildren(
      ...wanted.map((name) => offered(name, dimensions[name].title)), stars(), days("since", "From"), days("until", "to"),
      el("button", { class: "clear", type: "button", onclick: clear }, "Clear all"),
    );
  }
  for (const part of place.children) part.dispatchEvent(new Event("changed"));
  place.querySelector(".clear").hidden = !Object.keys(state.filters).length && !Object.keys(state.ranges).length;
}

const clear = () => go({ filters: {}, ranges: {} });

// A panel that opens below its name; `named` tells what is chosen in it, if anything.
function panelled(name, named, ...content) {
  const summary = el("summary", {});
  const details = el("details", { "data-name": name }, summary, ...content);
  details.addEventListener("changed", () => {
    const { text, isSet } = named();
    summary.textContent = text;
    details.className = isSet ? "filter set" : "filter";
  });
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    details.open = false;
    summary.focus();
  });
  return details;
}

function offered(name, title) {
  const list = el("div", { role: "group", "aria-label": title });
  const search = el("input", { type: "search", "aria-label": `Search ${title.toLowerCase()}`, placeholder: "Search" });
  const named = () => {
    const chosen = state.filters[name] ?? [];
    const text = chosen.length === 1 ? `${title}: ${called(name, typed(name, chosen[0]), names)}` : `${title}: ${chosen.length}`;
    return { text: chosen.length ? text : title, isSet: chosen.length > 0 };
  };
  const details = panelled(name, named, el("div", { class: "panel" }, search, list));
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
  details.addEventListener("changed", () => {
    for (const box of list.querySelectorAll("input")) box.checked = isChosen(name, box.value);
  });
  return details;
}

// Names of users and titles that have been shown.
const names = Object.create(null);
export const learn = (labels) => Object.assign(names, labels);
const typed = (name, value) => (["weekday", "hour", "watched"].includes(name) ? Number(value) : value);

async function fill(list, name, words) {
  const own = (list.asked = (list.asked ?? 0) + 1);
  let found;
  try {
    found = await get(`v1/insight/choices/${name}?count=60&q=${encodeURIComponent(words)}`);
  } catch (error) {
    found = error;
  }
  if (own !== list.asked) return; // another word has been asked for since
  if (found instanceof Error) {
    delete list.dataset.offered;
    list.replaceChildren(el("p", { class: "quiet", role: "alert" }, found.message));
    return;
  }
  for (const each of found) names[each.value] = each.label;
  const chosen = (state.filters[name] ?? []).filter((value) => !found.some((each) => each.value === value));
  const all = [...(words ? [] : chosen.map((value) => ({ value }))), ...found];
  const labels = all.map(({ value }) => [value, called(name, typed(name, value), names)]);
  const key = JSON.stringify(labels);
  if (list.dataset.offered === key) return; // the same again: what has the focus keeps it
  list.dataset.offered = key;
  list.replaceChildren(
    ...labels.map(([value, label]) =>
      el("label", {}, el("input", { type: "checkbox", value, checked: isChosen(name, value), onchange: () => toggle(name, value) }), label),
    ),
  );
  if (!all.length) list.replaceChildren(el("p", { class: "quiet" }, "nothing found"));
}

function stars() {
  const values = ["", ...Array.from({ length: 10 }, (_, n) => String((n + 1) / 2))];
  const choice = (name, label) => {
    const select = el("select", { onchange: (event) => setRange(name, event.target.value) }, ...values.map((v) => el("option", { value: v }, v ? `${v} ★` : "any")));
    return [select, el("label", {}, `${label} `, select)];
  };
  const [least, from] = choice("min_rating", "from");
  const [most, to] = choice("max_rating", "to");
  const named = () => {
    const isSet = Boolean(state.ranges.min_rating || state.ranges.max_rating);
    return { text: isSet ? `Stars: ${state.ranges.min_rating ?? "0.5"} to ${state.ranges.max_rating ?? "5"}` : "Stars", isSet };
  };
  const details = panelled("stars", named, el("div", { class: "panel range" }, from, to));
  details.addEventListener("changed", () => {
    least.value = state.ranges.min_rating ?? "";
    most.value = state.ranges.max_rating ?? "";
  });
  return details;
}

function days(name, label) {
  const input = el("input", { type: "date", onchange: (event) => setRange(name, event.target.value) });
  const day = el("label", { class: "quiet" }, `${label} `, input);
  day.addEventListener("changed", () => {
    if (input !== document.activeElement) input.value = state.ranges[name] ?? "";
  });
  return day;
}

document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll(".filter[open]")) if (!open.contains(event.target)) open.open = false;
});
