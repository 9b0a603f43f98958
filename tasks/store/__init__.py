"""The file or database that the agent writes to as well: statements, rows, what can be wrong."""
