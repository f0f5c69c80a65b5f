// What the whole page knows: who is signed in, the preferences, the models. Views read it here and
// listen for its changes; nothing else is shared between them.

import { get, post, put } from "./api.js";
import { settled } from "./dom.js";

/** The ranges and first values of an answer's parameters. */
export const PARAMETERS = {
  max_tokens: { low: 32, high: 16000, step: 1, first: 512 },
  temperature: { low: 0, high: 1, step: 0.01, first: 0.7 },
  top_p: { low: 0, high: 1, step: 0.01, first: 0.8 },
};

export const first_parameters = () => ({
  ...Object.fromEntries(Object.entries(PARAMETERS).map(([name, { first }]) => [name, first])),
  seed: null,
  stop: [],
});

export const page = {
  session: null,
  preferences: {},
  models: [],
  machine: null,
  default_model: "",
  pulls: [],
  loads: new Set(), // names of models whose loading this page asked for
  folder: "",
  repositories: [], // indexed on the server
};

/** Names of what changed: "models", "preferences", "conversations", "conversation", "repositories". */
const changes = new EventTarget();

/** Calls `work` at each change, for as long as the page lives. */
export const on_change = (name, work) => changes.addEventListener(name, () => work());

let views = new AbortController();

/** Calls `work` at each change until the views are built anew. */
export const while_viewed = (name, work) => changes.addEventListener(name, () => work(), { signal: views.signal });

/** Ends what `while_viewed` began. */
export function forget_views() {
  views.abort();
  views = new AbortController();
}

export const changed = (name) => changes.dispatchEvent(new Event(name));

// Preferences

const save_preferences = settled(400, () => put("/hearth/preferences", page.preferences).catch(() => {}));

export function prefer(values) {
  page.preferences = { ...page.preferences, ...values };
  save_preferences();
  changed("preferences");
}

export async function read_preferences() {
  page.preferences = await get("/hearth/preferences");
}

/** The model for a new chat: the preferred one while it is here, else the server's own. */
export function preferred_model() {
  const wanted = page.preferences.model;
  const is_here = page.models.some((model) => model.name === wanted && is_on_machine(model));
  return wanted && (is_here || !page.models.length) ? wanted : page.default_model;
}

// Repositories

/** The repository whose code is shown to models, where it still is one of the server's. */
export const chosen_repository = () =>
  page.repositories.some(({ name }) => name === page.preferences.repository) ? page.preferences.repository : null;

/** Reads which are indexed; they change seldom, so a view asks when it is opened. */
export async function refresh_repositories() {
  page.repositories = (await get("/hearth/repositories")).repositories;
  changed("repositories");
}

// Models

export const is_on_machine = (model) => !["not_here", "downloading", "paused"].includes(model.state);
export const is_admin = () => page.session?.role === "admin";
export const model_named = (name) => page.models.find((model) => model.name === name);

let reading = null;

/** Reads the list of models anew; calls that come while it is read share the answer. */
export function refresh_models() {
  reading ??= read_models().finally(() => (reading = null));
  return reading;
}

async function read_models() {
  const [listed, { pulls }] = await Promise.all([get("/hearth/models"), get("/hearth/pulls")]);
  Object.assign(page, { models: listed.models, machine: listed.machine, default_model: listed.default_model, pulls });
  changed("models");
}

let watch = 0;
let num_watchers = 0;

/** Keeps the list of models fresh until the function it returns is called. */
export function watch_models() {
  num_watchers++;
  schedule();
  return () => num_watchers--;
}

/** Once a second while something moves, every five seconds while somebody looks, else not at all. */
function schedule() {
  clearTimeout(watch);
  const is_moving = page.loads.size > 0 || page.pulls.some(is_moving_pull) ||
    page.models.some((model) => ["loading", "waiting", "draining"].includes(model.state));
  if (!is_moving && !num_watchers) return;
  watch = setTimeout(async () => {
    if (!document.hidden) await refresh_models().catch(() => {});
    schedule();
  }, is_moving ? 1000 : 5000);
}

export const is_moving_pull = (pull) => ["queued", "downloading", "pausing"].includes(pull.state);

/** Loads a model; while it does, its name is in `page.loads`. */
export async function load_model(name) {
  if (page.loads.has(name)) return;
  page.loads.add(name);
  changed("models");
  schedule();
  try {
    await post("/hearth/load", { model: name });
  } finally {
    page.loads.delete(name);
    await refresh_models().catch(() => {});
  }
}

export async function unload_model(name) {
  await post("/hearth/unload", { model: name });
  await refresh_models();
}

export async function begin_pull(name) {
  await post("/hearth/pulls", { model: name });
  await refresh_models();
  schedule();
}

export async function steer_pull(id, verb) {
  await post(`/hearth/pulls/${id}/${verb}`);
  await refresh_models();
  schedule();
}
