// What is looked at: the view, the user and the filters. The address has all of it, so that it can be kept and sent.

const RANGES = ["since", "until", "min_rating", "max_rating"];
const listeners = new Set();

export const state = { view: "foryou", filters: {}, ranges: {}, person: "", likes: [] };

export function read(dimensions) {
  const given = new URLSearchParams(location.search);
  state.view = given.get("view") ?? "foryou";
  state.person = given.get("person") ?? "";
  state.likes = state.person ? [] : given.getAll("like");
  state.filters = {};
  for (const name of dimensions) if (given.has(name)) state.filters[name] = given.getAll(name);
  state.ranges = Object.fromEntries(RANGES.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
}

export function filterQuery() {
  const query = new URLSearchParams();
  for (const [name, values] of Object.entries(state.filters)) for (const value of values) query.append(name, value);
  for (const [name, value] of Object.entries(state.ranges)) query.set(name, value);
  return query;
}

export function address(change = {}) {
  const query = filterQuery();
  const { view, person, likes } = { ...state, ...change };
  query.set("view", view);
  if (person) query.set("person", person);
  for (const like of likes) query.append("like", like);
  return `?${query}`;
}

export function onChange(listener) {
  listeners.add(listener);
}

// Change what is looked at, as a step that "back" undoes.
export function go(change) {
  Object.assign(state, change);
  history.pushState(null, "", address());
  for (const listener of listeners) listener();
}

// Put what the page has chosen by itself into the address: no step of its own.
export function settle(change) {
  Object.assign(state, change);
  history.replaceState(null, "", address());
}

export function toggle(dimension, value) {
  const chosen = state.filters[dimension] ?? [];
  const left = chosen.includes(value) ? chosen.filter((v) => v !== value) : [...chosen, value];
  const filters = { ...state.filters, [dimension]: left };
  if (!left.length) delete filters[dimension];
  go({ filters });
}

export function setRange(name, value) {
  const ranges = { ...state.ranges, [name]: value };
  if (!value) delete ranges[name];
  go({ ranges });
}

export const isChosen = (dimension, value) => (state.filters[dimension] ?? []).includes(value);
