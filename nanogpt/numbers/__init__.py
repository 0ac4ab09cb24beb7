"""What a loss means: how far it can be trusted, and what it is to be held against."""
