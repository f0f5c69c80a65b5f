"""The routes below `/hearth/`, which the web page uses: conversations, models, downloads, login."""
