"""The pages of the site, and in `building` the program that builds it."""
