// Figures and values as people read them.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

export function figure(value, unit) {
  if (value === null || value === undefined) return "–";
  switch (unit) {
    case "share": return `${(100 * value).toFixed(1)} %`;
    case "percent": return `${value.toFixed(1)} %`;
    case "stars": return `${value.toFixed(2)} ★`;
    case "score": return value.toFixed(3);
    default: return Number.isInteger(value) ? WHOLE.format(value) : value.toFixed(1);
  }
}

export function short(value, unit) {
  if (value === null || value === undefined) return "–";
  return ["count", "titles"].includes(unit) && Math.abs(value) >= 10000 ? SHORT.format(value) : figure(value, unit);
}

// What a value of a dimension is called; `labels` has the names of users and titles.
export function called(dimension, value, labels = {}) {
  if (value === null || value === undefined || value === "") return "unknown";
  if (dimension === "weekday") return DAYS[value - 1] ?? String(value);
  if (dimension === "hour") return `${String(value).padStart(2, "0")}:00`;
  if (dimension === "watched") return value >= 90 ? "90 to 100" : `${value} to ${value + 9}`;
  if (dimension === "rating" || dimension === "predicted") return `${Number(value).toFixed(1)} ★`;
  if (dimension === "version") return String(value).replace(/^\d{4}(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)-\d+$/, "$1-$2 $3:$4:$5");
  return Object.hasOwn(labels, value) ? labels[value] : String(value); // a title may be called __proto__
}

// A value as filters have it.
export const asText = (value) => (value === null || value === undefined ? "" : String(value));

export function ago(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  if (seconds < 129600) return `${(seconds / 3600).toFixed(0)} h`;
  return `${(seconds / 86400).toFixed(0)} days`;
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const place = Math.min(4, Math.floor(Math.log10(Math.max(1, n)) / 3));
  return `${(n / 1000 ** place).toFixed(place ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][place]}`;
}
