// OpenAI's JavaScript library with CodeHearth.
//
//   npm install openai
//   node openai_node.mjs "write a function that reverses a string"

import OpenAI from "openai";

const url = (process.env.HEARTH_URL ?? "http://127.0.0.1:8765").replace(/\/$/, "");
const model = process.env.HEARTH_MODEL ?? "starter";
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: process.env.HEARTH_API_KEY ?? "none" });

const question = process.argv.slice(2).join(" ") || "write a function that reverses a string";
const answer = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: question }],
  max_tokens: 512,
  stream: true,
});
for await (const chunk of answer) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
process.stdout.write("\n");
