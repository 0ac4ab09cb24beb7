"""What a text is read by, cut into pieces, looked at and taken apart into tokens. The way in is `nanogpt.text.corpus`."""
