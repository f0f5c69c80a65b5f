// One model in a dialog: where it comes from, why it fits or not, and every precision with what it
// needs. This is also the way out of "does not fit": a smaller precision is one button away.

import { get, in_path } from "./api.js";
import { note, show_dialog } from "./dialogs.js";
import { element, fill, icon } from "./dom.js";
import { error_card, note_error } from "./errors.js";
import { begin_pull, is_admin } from "./page.js";
import { fit_badge } from "./picker.js";
import { format_bytes, t } from "./strings.js";

const HEADS = ["precision", "size", "fit", "memory"];

/** Shows the model; `use(name)` is called with a precision that is here and was chosen. */
export function show_model(name, { use }) {
  return show_dialog(name, (close) => {
    const body = element("div", {}, element("p", { class: "faint" }, "…"));
    get(`/hearth/models/${in_path(name)}`).then(
      ({ model, variants }) => fill(body, about(model), variants?.length > 0 && table(variants, close, use)),
      (error) => fill(body, error_card(error)));
    return body;
  }, { wide: true });
}

function about(model) {
  return [
    element("p", { class: "faint" }, [model.source, model.licence, model.note].filter(Boolean).join(" · ")),
    (model.fit_why ?? []).length > 0 && element("ul", { class: "why-list" }, model.fit_why.map((why) => element("li", {}, why))),
    parts_of(model),
  ];
}

function table(variants, close, use) {
  return element("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": t("models.head.precision") }, element("table", { class: "table" },
    element("thead", {}, element("tr", {}, HEADS.map((name) => element("th", { scope: "col", class: ["size", "memory"].includes(name) ? "number-cell" : null }, t(`models.head.${name}`))),
      element("th", { scope: "col" }, element("span", { class: "off-screen" }, t("models.head.actions"))))),
    element("tbody", {}, variants.map((variant) => element("tr", {},
      element("th", { scope: "row" }, variant.precision), element("td", { class: "number-cell" }, format_bytes(variant.size_bytes)),
      element("td", {}, fit_badge(variant)), element("td", { class: "number-cell" }, variant.predicted ? format_bytes(variant.predicted.total_bytes) : "–"),
      element("td", { class: "is-last" }, action(variant, close, use)))))));
}

function action(variant, close, use) {
  const button = (name, sign, act) => element("button", { type: "button", class: "button is-small", "aria-label": `${t(`models.${name}`)}: ${variant.name}`,
    onclick: () => { close(); act(); } }, icon(sign, 15), t(`models.${name}`));
  if (variant.is_here) return button("chat", "chat", () => use(variant.name));
  return is_admin() && variant.fits !== "no" && button("pull", "download", () => pull(variant.name));
}

async function pull(name) {
  try {
    await begin_pull(name);
    note(t("models.pull_begun", { name }));
  } catch (error) {
    note_error(error);
  }
}

/** The parts of the predicted memory as one bar. */
function parts_of(model) {
  const parts = Object.entries(model.predicted?.parts ?? {}).filter(([, size]) => size > 0);
  if (!parts.length) return null;
  const total = parts.reduce((sum, [, size]) => sum + size, 0);
  return element("div", { class: "parts" },
    element("div", { class: "parts-bar", "aria-hidden": "true" }, parts.map(([name, size]) => element("i", { class: `is-${name}`, style: `width:${((100 * size) / total).toFixed(1)}%` }))),
    element("dl", {}, parts.map(([name, size]) => [element("dt", { class: `is-${name}` }, t(`parts.${name}`)), element("dd", {}, format_bytes(size))])));
}
