"""`kn model`: everything a person runs. It speaks HTTP to the functions and imports none of them."""
