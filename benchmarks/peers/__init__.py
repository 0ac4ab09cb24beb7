"""Others' code beside ours: run from a temporary copy of a checkout that the user has. None of it is kept here."""
