"""Turn stored threads into readable transcripts, with a timeline, search, HTML and exports."""
