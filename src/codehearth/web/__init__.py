"""The web page: a Gradio page with one island of our own, which asks the gateway's public API."""
