"""Keeping secrets out of pages and exports, and showing them to those who may see them."""
