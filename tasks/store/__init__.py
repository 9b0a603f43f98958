"""Access to the store shared with the agent: connections, transactions, SQL and errors."""
