"""One page of HTML that runs a model in a browser: no server, no network, nothing to install.

export      writes the page
quantise    weights of 8 bits and back
template    the page's parts put together, so that nothing in them can break out
reading     config and weights of a page, as Python sees them
browser     a page opened in Chromium, to hold its answers against ours
page/       what the browser runs, in the order of `template.SCRIPTS`
"""
