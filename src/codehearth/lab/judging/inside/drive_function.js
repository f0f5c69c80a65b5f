// As drive_function.py, for JavaScript.
"use strict";
const fs = require("fs");
const vm = require("vm");

const order = JSON.parse(fs.readFileSync(0, "utf8"));
const tell = (document) => fs.writeSync(3, JSON.stringify(document) + "\n");

function load() {
  globalThis.require = require;
  globalThis.module = { exports: {} };
  globalThis.exports = globalThis.module.exports;
  try {
    vm.runInThisContext(order.code, { filename: "solution.js" });
  } catch (error) {
    tell({ failed: error instanceof SyntaxError ? "syntax" : "exception", detail: String(error) });
    return null;
  }
  try {
    return vm.runInThisContext(order.function);
  } catch (error) {
    const exported = globalThis.module.exports[order.function];
    if (!exported) tell({ failed: "wrong", detail: `there is no ${order.function}` });
    return exported || null;
  }
}

const called = load();
if (called) {
  for (const args of order.arguments) {
    try {
      const value = called(...args);
      tell({ value: value === undefined ? null : value });
    } catch (error) {
      tell({ raised: String(error).slice(0, 500) });
    }
  }
}
