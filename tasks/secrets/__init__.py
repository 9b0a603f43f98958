"""Hide secrets in pages and exports, and reveal them to authorized users."""
