from __future__ import annotations

from head_atlas.app.about_recheck import recheck_props
from head_atlas.heads import HeadId
from head_atlas.live.recheck import Recheck


def test_what_was_measured_again_says_how_far_apart_it_is(library):
    found = Recheck((0, 3), 48, 0.02, 0.0011, -0.5, -0.48, HeadId(1, 2), 3, 5, 2)
    props = recheck_props(found, library.atlas("small").prompts, "Other weights.")
    rows = {row["label"]: row["text"] for row in props["sections"][0]["rows"]}
    assert (
        rows["Live = atlas"]
        == "FAILED: the worst difference is 0.02 nats, allowed there 0.0011; 43 of 48 within what is allowed"
    )
    assert rows["Compared"].startswith("48 effects")
    assert rows["Where"] == "L1H2 on prompt 3: live −0.5000 nats, atlas −0.4800 nats"
    assert rows["A number on one side only"] == "2 effects"
    assert rows["Other weights"] == "Other weights."
