"""One HTML page that runs a model in a browser: no server, no network, nothing to install.

export   writes the page, safe against whatever its data contains
packing  weights in 8 bits as bytes, and back
reading  config and weights of a page, in Python
browser  a page opened in Chromium, to compare its answers with ours
page/    what the browser runs, in the order of `export.SCRIPTS`
"""
