"""The studio: a page on this machine that writes with a model, looks inside it, and watches one learn.

`app` serves it, `shelf` opens the runs that it may show, `state` is what stands in the address. Each view is a package
of its own (`write`, `inside`, `learn`, `course`) with one function, `view`. The work of models is done by
`nanogpt.explain` and `nanogpt.sampling.generate`, which need no page.

Only `app`, `page` and what draws import NiceGUI, which is in the extra `studio`.
"""
