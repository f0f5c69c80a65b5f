// OpenAI's own JavaScript client against a server of ours; prints what it saw as one JSON object.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Write a function that reverses a string" }];

const listed = await client.models.list();
const whole = await client.chat.completions.create({
  model: "starter", messages, temperature: 0, max_tokens: 60,
});
let streamed = "";
for await (const chunk of await client.chat.completions.create({
  model: "starter", messages, temperature: 0, max_tokens: 60, stream: true,
})) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
const completion = await client.completions.create({
  model: "starter", prompt: "def add(a, b):\n", max_tokens: 10,
});

async function errorOf(request) {
  try {
    await client.chat.completions.create(request);
  } catch (error) {
    return error;
  }
  throw new Error("no error came");
}
const notFound = await errorOf({ model: "nobody", messages });
const badRequest = await errorOf({ model: "starter", messages, temperature: -1 });

console.log(JSON.stringify({
  models: listed.data.map((model) => model.id),
  chat: whole.choices[0].message.content.length > 0,
  streamed: streamed === whole.choices[0].message.content,
  completion: completion.choices[0].text.length > 0,
  notFound: notFound instanceof OpenAI.NotFoundError ? notFound.code : String(notFound),
  badRequest: badRequest instanceof OpenAI.BadRequestError ? badRequest.param : String(badRequest),
}));
