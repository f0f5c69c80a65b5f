"""Programs that run as children of the house; they import nothing of it but wire, text and errors."""
