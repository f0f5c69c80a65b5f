// What an answer cost, in figures: its tokens, its speed, and how full the model's context is.

import { element, icon } from "./dom.js";
import { format_count, format_seconds, t, t_count } from "./strings.js";

const AMBER = 0.8;
const RED = 0.95;
const SHORTEST_S = 0.2;

/** What stands below an answer. */
export function answer_figures(cost) {
  const speed = speed_of(cost);
  const left_out = cost.left_out_turns ?? 0;
  return element("div", { class: "figures" },
    cost.completion_tokens != null && element("span", {}, t_count("tokens", cost.completion_tokens)),
    speed != null && element("span", {}, speed_text(speed)),
    cost.first_token_s != null && element("span", {}, t("figures.first", { time: format_seconds(cost.first_token_s) })),
    cost.context_max > 0 && context_meter(cost.context_used, cost.context_max),
    left_out > 0 && element("span", { class: "left-out", title: t("figures.left_out_why") }, icon("info", 14), t_count("figures.left_out", left_out)));
}

/**
 * Tokens per second; of the whole time for an answer that was written within a few frames, where
 * the time between the first and the last one says nothing.
 */
export function speed_of({ tokens_per_s, completion_tokens, duration_s, first_token_s }) {
  const is_short = duration_s > 0 && duration_s - (first_token_s ?? 0) < SHORTEST_S;
  return is_short ? completion_tokens / duration_s : tokens_per_s;
}

export const speed_text = (speed) => t("figures.speed", { speed: format_count(Math.round(speed * 10) / 10) });

/** How full the context is: amber from 80 %, red from 95 %. */
function context_meter(used, max) {
  const part = Math.min(1, used / max);
  const level = part >= RED ? "is-red" : part >= AMBER ? "is-amber" : "";
  const label = t("figures.context", { used: format_count(used), max: format_count(max) });
  return element("span", { class: `meter ${level}`, title: label },
    element("span", { class: "meter-bar", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": max, "aria-valuenow": used },
      element("i", { style: `width:${(part * 100).toFixed(1)}%` })),
    element("span", {}, `${Math.round(part * 100)} %`));
}
