// The form for a key, over the page: what was written below it is still there afterwards.

import { Refused, get, post } from "./api.js";
import { element, fill, icon } from "./dom.js";
import { page } from "./page.js";
import { t } from "./strings.js";

let showing = null;

/** Asks for a key until one is taken. Calls that come meanwhile share the form. */
export function show_login() {
  showing ??= asked_key().finally(() => (showing = null));
  return showing;
}

function asked_key() {
  return new Promise((resolve) => {
    const field = element("input", { class: "field", type: "password", autocomplete: "current-password", placeholder: "sk-…", "aria-label": t("login.key"), required: true, autofocus: true });
    const said = element("p", { class: "login-error", role: "alert" });
    const submit = async (event) => {
      event.preventDefault();
      try {
        await post("/hearth/login", { key: field.value.trim() });
        page.session = await get("/hearth/session");
        dialog.close();
        dialog.remove();
        resolve();
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        fill(said, t(error.status === 401 ? "login.wrong" : "login.failed"));
        field.select();
      }
    };
    const dialog = element("dialog", { class: "dialog login", "aria-labelledby": "login-title" },
      element("form", { class: "login-form", onsubmit: submit },
        element("span", { class: "welcome-mark" }, icon("flame", 30)),
        element("h2", { id: "login-title" }, t("login.title")),
        element("p", { class: "faint" }, t("login.text")),
        field, said,
        element("button", { class: "button is-primary" }, t("login.in"))));
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.getElementById("hearth").append(dialog);
    dialog.showModal();
  });
}
