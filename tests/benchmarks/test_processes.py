"""The environment of a fresh process, and its times, memory and output."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks import processes
from benchmarks.processes import Failed, clean_environment, own_environment, run


def python(code: str, **environment: str):
    return run([sys.executable, "-c", code], Path(), clean_environment(**environment))


def test_lines_have_the_time_since_the_start_and_both_streams_are_read():
    done = python("import sys, time; print('one'); time.sleep(0.3); print('two', file=sys.stderr); time.sleep(0.2)")
    assert [line.text for line in done.lines] == ["one", "two"]
    one, two = (line.seconds for line in done.lines)
    assert 0 < one < two - 0.29
    assert done.seconds > two + 0.19


def test_the_peak_is_the_childs_and_not_ours():
    """Linux starts a process' peak at its parent's, so that a large benchmark saw no small child."""
    ours = bytearray(300_000_000)
    small = python("pass").peak_megabytes
    large = python("bytearray(120_000_000)").peak_megabytes
    assert len(ours) == 300_000_000
    assert small < 60
    assert 120 < large < 180


def test_the_environment_is_clean(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    code = "import os; print(os.environ.get('OMP_NUM_THREADS'), os.environ.get('PYTHONPATH'))"
    assert python(code).text == "None None"
    assert python(code, threads=2).text == "2 None"


def test_our_side_has_empty_caches_and_imports_this_working_tree(tmp_path):
    found = own_environment(tmp_path)
    done = run([sys.executable, "-c", "import nanogpt; print(nanogpt.__file__)"], tmp_path, found)
    assert Path(done.text).parent.parent == Path(processes.ROOT)
    assert Path(found["NANOGPT_CACHE"]).parent == tmp_path


def test_a_failure_says_what_was_printed():
    with pytest.raises(Failed, match=r"ended with code 3:\nalas"):
        python("print('alas'); raise SystemExit(3)")
    with pytest.raises(Failed, match="code unknown"):
        run(["no-such-command-at-all"], Path(), clean_environment())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sessions")
def test_no_process_is_left_behind_when_we_are_interrupted():
    def interrupt() -> None:
        while not Path("number").exists():
            time.sleep(0.01)
        time.sleep(0.05)
        os.kill(os.getpid(), 2)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code = "import os, time; open('.n', 'w').write(str(os.getpid())); os.rename('.n', 'number'); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        python(code)
    thread.join()
    number = int(Path("number").read_text())
    for _ in range(100):
        state = Path(f"/proc/{number}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {number} is still there")
