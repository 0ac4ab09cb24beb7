"""One HTML page that runs a model in a browser: no server, no network, nothing to install.

export   writes the page, safe against whatever its data contains, with weights in 8 bits
reading  config and weights of a page, in Python
browser  a page opened in Chromium, to compare its answers with ours
page/    what the browser runs, in the order of `export.SCRIPTS`
"""
