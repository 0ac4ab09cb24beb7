import pytest
from studio_process import Studio, Window, end_trainings
from tiny import make_run

from nanogpt.runs.run import load
from nanogpt.text.tokenizer import CharTokenizer

TEXT = "The cat sat <b>here</b> & there, in a red tree.\n"


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory):
    """Three runs, the newest called `modern`; with names and alphabets that a careless page would take for HTML."""
    folder = tmp_path_factory.mktemp("runs")
    ending = CharTokenizer.train(["The <script>alert(2)</script>"])
    make_run(folder / "<img src=x onerror=alert(1)>", "lecture", tokenizer=ending, n_head=2)
    # Without an end-of-document token, which an untrained model would sample soon.
    for name, more in (("gpt2", "xyz"), ("modern", "")):
        tokenizer = CharTokenizer("".join(sorted({*TEXT, *more})), end_of_document=False)
        make_run(
            folder / name, name, tokenizer=tokenizer, n_layer=3, n_head=2 if more else 4, block_size=16 + len(name)
        )
    return folder


@pytest.fixture(scope="module")
def run(runs_folder):
    return load(runs_folder / "modern", device="cpu")


@pytest.fixture(scope="module")
def browser():
    from nanogpt.interop.formats import MissingProgram
    from nanogpt.interop.html.browser import launch

    try:
        playwright, found = launch()
    except MissingProgram as error:
        pytest.skip(str(error))
    yield found
    found.close()
    playwright.stop()


@pytest.fixture(scope="module")
def studio(runs_folder):
    started = Studio(runs_folder)
    yield started
    started.end()


@pytest.fixture
def start_studio():
    """A function that starts a server on a folder. Nothing outlives the test, no training either."""
    started = []

    def start(folder, *words, **settings):
        started.append(Studio(folder, *words, **settings))
        return started[-1]

    yield start
    for one in started:
        one.end()
        end_trainings(one.folder)


@pytest.fixture
def visit(browser, request):
    """Opens windows; afterwards none may have logged an error or made a request to another server."""
    opened = []

    def open_window(fragment="", at=None, **settings):
        opened.append(Window(browser, at or request.getfixturevalue("studio"), fragment, **settings))
        return opened[-1]

    yield open_window
    for one in opened:
        one.close()
    assert not [one.errors for one in opened if one.errors]
    assert not [one.strangers for one in opened if one.strangers]
    assert not [line for one in opened for line in one.studio.lines if "Error" in line]
