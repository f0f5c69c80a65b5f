// Editors and clients: where their configuration goes and what it says. Editors and agents stand in
// the server's own table, which `hearth connect` reads too; scripts stand here.

import { page } from "./page.js";
import { current_language } from "./strings.js";

/** What a kind of configuration is coloured as. */
const COLOURED = { shell: "bash", vim: "text", steps: "text" };

const SCRIPTS = [
  { id: "curl", name: "curl", group: "script", language: "bash", uses: ["chat"], text:
`curl $url/v1/chat/completions \\
  -H 'Content-Type: application/json' \\
  -H 'Authorization: Bearer $key' \\
  -d '{"model": "$model", "messages": [{"role": "user", "content": "Write a function that reverses a string"}]}'` },
  { id: "python", name: "Python (openai)", group: "script", language: "python", uses: ["chat"], text:
`from openai import OpenAI

client = OpenAI(base_url="$url/v1", api_key="$key")
answer = client.chat.completions.create(
    model="$model",
    messages=[{"role": "user", "content": "Write a function that reverses a string"}],
)
print(answer.choices[0].message.content)` },
  { id: "javascript", name: "JavaScript (openai)", group: "script", language: "javascript", uses: ["chat"], text:
`import OpenAI from "openai";

const client = new OpenAI({ baseURL: "$url/v1", apiKey: "$key" });
const answer = await client.chat.completions.create({
  model: "$model",
  messages: [{ role: "user", content: "Write a function that reverses a string" }],
});
console.log(answer.choices[0].message.content);` },
];

/** All clients as `{id, name, group, language, uses, file, works, then, text}`. */
export async function read_clients() {
  const answer = await fetch(`${page.folder}clients.json`);
  const table = answer.ok ? await answer.json() : {};
  return [...Object.entries(table).map(([id, row]) => client_of(id, row)), ...SCRIPTS];
}

function client_of(id, row) {
  const file = row.files?.any ?? row.files?.linux;
  return {
    id, name: row.title, works: in_language(row, "works"), then: in_language(row, "then"), text: row.text,
    group: row.group, uses: row.uses,
    language: COLOURED[row.format] ?? row.format,
    file: file && `~/${file}`,
  };
}

const in_language = (row, name) => (current_language() === "zh-CN" && row[`${name}_zh`]) || row[name];

/** The configuration with this server's address, the model and what stands for the key. */
export function written(text, { model, key, context }) {
  const values = { url: location.origin, host: location.hostname, port: location.port || "80", model, key, context };
  return text.trim().replace(/\$(\$|\w+)/g, (whole, name) => (name === "$" ? "$" : values[name] ?? whole));
}
