"""The views. They read through QuerySets, and change the store only through `tasks.clearing`."""
