"""Words and steps of colour that all views share."""

LEVELS = (0.5, 0.25, 0.1, 0.03, 0.01)
"""Steps of the colour scale: a token at least as likely as the first of them is not coloured. As in exported pages."""


def level_of(probability: float) -> int:
    """How strongly a token of this probability is coloured, from 0 to 5.

    >>> [level_of(probability) for probability in (0.9, 0.3, 0.001)]
    [0, 1, 5]
    """
    return next((level for level, least in enumerate(LEVELS) if probability >= least), len(LEVELS))


def percent(probability: float) -> str:
    """A probability to three figures at most.

    >>> [percent(one) for one in (1, 0.5, 0.05123, 0.00001, 0)]
    ['100 %', '50.0 %', '5.12 %', '< 0.01 %', '0 %']
    """
    value = 100 * probability
    if 0 < value < 0.01:
        return "< 0.01 %"
    return f"{value:.{0 if value >= 99.95 or value == 0 else 1 if value >= 10 else 2}f} %"
