"""Content-addressed storage: which content is in the bucket, who fills it, what may go, and whether there is room."""
