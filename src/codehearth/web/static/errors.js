// Errors in words: as cards with a button for what to do, or as a note that goes away.

import { note } from "./dialogs.js";
import { element, icon } from "./dom.js";
import { format_bytes, t } from "./strings.js";

// What the page says itself, by the server's code; everything else is the server's own message.
const KNOWN = {
  unreachable: "error.unreachable",
  cut: "error.cut",
  records_unavailable: "error.records",
  does_not_fit: "error.does_not_fit",
  model_not_found: "error.model_not_found",
  context_length_exceeded: "error.context",
  conflict: "error.conflict",
};

/** The words for an error of the wire (`{message, code, …}`) or of `api.js`. */
export function words_of(error) {
  const details = error.details ?? error;
  const key = KNOWN[details.code];
  const title = key ? t(`${key}.title`) : t("error.title");
  const numbers = {
    needed: format_bytes(details.needed_bytes), free: format_bytes(details.free_bytes),
  };
  const has_numbers = details.needed_bytes && details.free_bytes !== undefined;
  const told = details.code === "does_not_fit" && has_numbers ? t("error.does_not_fit.numbers", numbers) : "";
  const text = [told, told || (key && !details.message) ? "" : details.message].filter(Boolean).join(" ");
  return { title, text: text || (key ? t(`${key}.text`) : ""), code: details.code ?? "" };
}

/** A card; `actions` are `{label, icon, act}`. */
export function error_card(error, actions = []) {
  const { title, text, code } = words_of(error);
  return card("error", title, text, actions, code);
}

/** For what was asked in passing: a menu, a picker. */
export function note_error(error) {
  const { title, text } = words_of(error);
  note(`${title} ${text}`.trim(), "error");
}

export function card(kind, title, text, actions = [], code = "") {
  return element("div", { class: `card is-${kind}`, role: kind === "error" ? "alert" : "note", dataset: { code } },
    element("div", { class: "card-icon" }, icon(kind === "error" ? "warning" : "info")),
    element("div", { class: "card-body" },
      element("strong", {}, title),
      text && element("p", {}, text),
      actions.length > 0 && element("div", { class: "card-actions" }, actions.map(action_button))));
}

const action_button = ({ label, icon: name, act, is_primary }) =>
  element("button", { type: "button", class: `button is-small ${is_primary ? "is-primary" : ""}`, onclick: act },
    name && icon(name, 15), label);
