"""Keep secrets out of pages and exports, and reveal them to users who may see them."""
