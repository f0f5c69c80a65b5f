"""From a typed request to an engine's pieces: what is asked, the connection, the chunks."""
