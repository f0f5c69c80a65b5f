"""What editors ask for, whatever their dialect: the middle at a cursor, and who types along."""
