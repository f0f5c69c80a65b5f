"""The door of the house: OpenAI's API over HTTP, for anybody who may come in."""
