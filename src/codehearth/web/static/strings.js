// Every text that the page shows comes from a table, one for each language: `strings/LANGUAGE.json`.

let table = {};
let language = "en";

export const LANGUAGES = { en: "English", "zh-CN": "简体中文" };

/** The language asked for, else the browser's, else English. */
export function choose_language(asked) {
  if (asked in LANGUAGES) return asked;
  const known = navigator.languages.find((name) => /^(zh|en)\b/i.test(name)) ?? "en";
  return /^zh/i.test(known) ? "zh-CN" : "en";
}

/** Makes `name` the language of the page; `folder` is where the page's files are. */
export async function use_language(name, folder) {
  const answer = await fetch(`${folder}strings/${name}.json`);
  table = await answer.json();
  language = name;
  document.documentElement.lang = name;
}

export const current_language = () => language;

/** The text of `key`, with `{name}` replaced by the value of that name. */
export function t(key, values = {}) {
  const text = table[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The text of `key.one` for the number one where the language tells them apart, else of `key.many`. */
export function t_count(key, count) {
  return t(count === 1 ? `${key}.one` : `${key}.many`, { count: format_count(count) });
}

export const format_count = (count) => new Intl.NumberFormat(language).format(count);

/** A measured number with `digits` figures that count. */
export const format_figures = (value, digits = 3) => new Intl.NumberFormat(language, { maximumSignificantDigits: digits }).format(value);

export function format_bytes(num_bytes) {
  if (num_bytes === null || num_bytes === undefined) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = num_bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toFixed(value < 10 && unit > 1 ? 1 : 0)} ${units[unit]}`;
}

export function format_seconds(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function format_parameters(count) {
  if (!count) return "";
  return count >= 1e9 ? `${(count / 1e9).toFixed(count < 1e10 ? 1 : 0)}B` : `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)}M`;
}

/** A day in words: today, yesterday, or the date. */
export function format_day(seconds) {
  const day = new Date(seconds * 1000);
  const today = new Date();
  const days = Math.round((midnight(today) - midnight(day)) / 86_400_000);
  if (days <= 0) return t("day.today");
  if (days === 1) return t("day.yesterday");
  if (days < 7) return t("day.week");
  return new Intl.DateTimeFormat(language, { year: "numeric", month: "long" }).format(day);
}

const midnight = (day) => new Date(day.getFullYear(), day.getMonth(), day.getDate()).getTime();

export function format_time(seconds) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(seconds * 1000));
}
