"""Programs that run as children; they import nothing of the house but wire, text and errors."""
