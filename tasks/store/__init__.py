"""The file or database shared with the agent: connections, transactions, SQL and errors."""
