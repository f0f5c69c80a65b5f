"""What travels: bounded JSON, the shapes of OpenAI's requests, and the frames of an event stream.

Shared by the gateway, the workers and the client.
"""
