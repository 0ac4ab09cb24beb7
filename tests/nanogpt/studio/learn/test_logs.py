"""The newest text in a training's log."""

from tiny import start

from nanogpt.studio.learn.logs import Sample, last_words, newest_sample, read_tail
from nanogpt.views.progress import show_training


def test_the_sample_of_a_real_log(tmp_path, capsys):
    """What the terminal's view prints is what is read here: whoever changes one changes the other."""
    trainer = start("run", steps=8)
    told = list(show_training(trainer))
    wrote = [(event.step, event.text) for event in told if type(event).__name__ == "SampleEvent"]
    assert len(wrote) > 1
    found = newest_sample(capsys.readouterr().err)
    assert found is not None
    assert (found.step, found.text.strip("\n")) == (wrote[-1][0], wrote[-1][1].strip("\n"))


def test_a_sample_ends_where_the_program_speaks_again():
    said = "step 1,024: train 2.1  val 2.2000  (3 s)  (not the best so far)\none\n\ntwo\n\nnanogpt: saving at the end\n"
    assert newest_sample(said) == Sample(1024, "one\n\ntwo\n")
    assert newest_sample("step 0: train –  val 4.1000  (0 s)\n") is None
    assert newest_sample("") is None


def test_the_end_of_a_log_is_read_without_signs_that_steer_a_terminal(tmp_path):
    log = tmp_path / "run.log"
    log.write_bytes(b"begin " + b"x" * 100_000 + b"\n\x1b[31mred\x07 \xff end\n")
    said = read_tail(log)
    assert "begin" not in said
    assert said.endswith("[31mred \ufffd end\n")
    assert "\x1b" not in said
    assert last_words("a\n\n b \n") == "a\n b"
    assert read_tail(tmp_path / "none") == ""
