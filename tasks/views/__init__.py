"""Views that read the store through QuerySets and change it only through `tasks.clearing`."""
