"""The check of the finished site finds what is broken."""

from docs.building.check import check_site


def test_a_sound_site(tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#end">b</a><a href="https://example.org">x</a>')
    (tmp_path / "b.html").write_text('<p id="end"><a href="#end">here</a><img src="p.png"><a href="mailto:a@b.c">m</a>')
    (tmp_path / "p.png").write_bytes(b"")
    assert check_site(tmp_path) == []


def test_what_is_broken_is_named(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="gone.html">b</a><a href="#gone">c</a><img src="gone.png">'
        '<script src="https://example.org/x.js"></script><link rel="stylesheet" href="//example.org/x.css">'
    )
    assert sorted(check_site(tmp_path)) == [
        "a.html: #gone: no such place on that page",
        "a.html: gone.html is not there",
        "a.html: gone.png is not there",
        "a.html: loads //example.org/x.css from elsewhere",
        "a.html: loads https://example.org/x.js from elsewhere",
    ]
