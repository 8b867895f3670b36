from __future__ import annotations

import io

from head_atlas.build.progress import ProgressLine


def test_the_line_says_how_far_how_fast_and_how_long():
    line = ProgressLine(total=1000.0, done=400.0, stream=io.StringIO())
    # 100 of the 600 missing in 20 s: 5 a second, 500 to go
    assert line.text("zero ioi", 100.0, 20.0) == " 50.0%  zero ioi  5 tokens/s  about 2 min left"
    assert line.text("zero ioi", 0.0, 0.0) == " 40.0%  zero ioi"


def test_finished_units_count_and_logs_are_not_flooded():
    stream = io.StringIO()
    line = ProgressLine(total=10.0, done=0.0, stream=stream)
    for share in (0.0, 0.5, 1.0):
        line.update("scores natural", share, 5.0)
    line.finished(5.0)
    line.close()
    assert stream.getvalue().count("\n") == 1
    assert "  0.0%  scores natural" in stream.getvalue()


def test_a_log_has_a_line_for_every_unit():
    stream = io.StringIO()
    line = ProgressLine(total=10.0, done=0.0, stream=stream)
    for unit in ("zero ioi", "zero ioi", "mean ioi"):
        line.update(unit, 0.0, 2.0)
        line.update(unit, 0.5, 2.0)
        line.finished(2.0)
    # Two units may have the same words, where one family is cut in two.
    assert [text.split("%  ")[1].split("  ")[0] for text in stream.getvalue().splitlines()] == [
        "zero ioi",
        "zero ioi",
        "mean ioi",
    ]
