"""The site: its pages, and in `building` what makes them."""
