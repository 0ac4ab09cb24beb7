from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.tokenizer import CharTokenizer

ALPHABET = "\n !,.abcdefghijklmnopqrstuvwxyzéß—🦊猫"
"""36 characters; the end-of-document token is the 37th."""


def endless() -> CharTokenizer:
    """Without an end-of-document token: a text has the length that was asked for."""
    return CharTokenizer(ALPHABET, end_of_document=False)


def grown() -> CharTokenizer:
    """With the end-of-document token in the middle."""
    return CharTokenizer(ALPHABET[:-9]).extend(ALPHABET[-9:])


def bpe() -> BpeTokenizer:
    """With tokens of U+0085, which is white space to Unicode and not to JavaScript, and of U+FEFF: the reverse."""
    text = "\x85\x85 x wow!\ufeff\ufeff the cat's hat, they'll don't 123 née 中文 中文 🦊🦊 \n\n  aaaa abab </script> "
    return BpeTokenizer.train([text] * 50, 349)


def agree(found, wanted) -> None:
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-4, (found - wanted).abs().max()


def write(page, prompt="the cat", **settings):
    """Write a text as a person would, and wait for its end."""
    page.page.fill("#prompt", prompt)
    for name, value in settings.items():
        page.page.locator(f"#{name}").evaluate(
            "(field, value) => { field.value = value; field.dispatchEvent(new Event('input')); }", str(value)
        )
    page.page.click("#write")
    wait(page, "!document.getElementById('write').disabled")


def wait(page, condition):
    """Until something is true of the page; its policy forbids Playwright's own way of asking."""
    for _ in range(300):
        if page.page.evaluate(condition):
            return
        page.page.wait_for_timeout(20)
    raise AssertionError(condition)
