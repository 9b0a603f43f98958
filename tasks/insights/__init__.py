"""What the index says about many threads at once. Every number agrees with the list it links to."""
