"""The store beside its peers, under load, and under kill -9. See README.md."""
