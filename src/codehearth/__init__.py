"""CodeHearth: code models on one's own machine, behind one command and any OpenAI client."""

__version__ = "0.1.0"
