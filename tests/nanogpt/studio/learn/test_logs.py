"""The end of a training's log."""

from nanogpt.studio.learn.logs import last_words, read_tail


def test_the_end_of_a_log_is_read_without_signs_that_steer_a_terminal(tmp_path):
    log = tmp_path / "run.log"
    log.write_bytes(b"begin " + b"x" * 100_000 + b"\n\x1b[31mred\x07 \xff end\n")
    said = read_tail(log)
    assert "begin" not in said
    assert said.endswith("[31mred \ufffd end\n")
    assert "\x1b" not in said
    assert last_words("a\n\n b \n") == "a\n b"
    assert read_tail(tmp_path / "none") == ""
