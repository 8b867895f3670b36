"""The page of one head: what it is in short, and everything that was measured of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from head_atlas.catalogue import EFFECTS
from head_atlas.errors import AtlasError
from head_atlas.views.choices import PATTERN_SCORES, score_families, titled
from head_atlas.views.head_company import company_section
from head_atlas.views.head_effects import effects_section, families_section
from head_atlas.views.head_examples import histogram_section, looked_at_section
from head_atlas.views.head_roles import held_roles, published_section, role_label, roles_section, sentence_of
from head_atlas.views.head_scores import offsets_section, scores_section
from head_atlas.views.head_writes import direct_logit_section, tokens_section, weights_section
from head_atlas.views.terms import with_terms

if TYPE_CHECKING:
    from head_atlas.heads import HeadId
    from head_atlas.store import Atlas

log = logging.getLogger(__name__)


def summary_props(atlas: Atlas, head: HeadId, mode: str) -> dict:
    """What the head is: the sentence that sums it up, its roles with their evidence, what is published of it.

    Args:
        atlas: where the numbers are.
        head: a head that the atlas has.
        mode: the ablation mode of published effects.
    """
    roles, published = roles_section(atlas, head), published_section(atlas, head, mode)
    return {
        "head": [head.layer, head.head],
        "title": head.label,
        "subtitle": f"layer {head.layer} of 0–{atlas.n_layers - 1} · head {head.head} of 0–{atlas.n_heads - 1}"
        f" · {atlas.model_id}",
        "marks": [role_label(name) for name in held_roles(atlas, head)],
        "sentence": sentence_of(atlas, head),
        # Of an atlas without roles the sentence says so already.
        "sections": with_terms([section for section in (roles, published) if section and section["kind"] != "empty"]),
    }


def page_props(atlas: Atlas, head: HeadId, *, effect: str, mode: str) -> dict:
    """What was measured of one head: where it looks, what it writes, what breaks without it, whom it works with.

    Args:
        atlas: where the numbers are.
        head: a head that the atlas has.
        effect: the effect shown per family; "" for none.
        mode: the ablation mode that is shown first.
    """
    variants = scores_section(atlas, head, variants=True)
    folded = [{"kind": "fold", "summary": variants["title"], "section": variants}] if "rows" in variants else []
    groups = [
        {
            "title": "What breaks without it?",
            "sections": [
                effects_section(atlas, head, effect, mode),
                _read("Which families need it", families_section, atlas, head),
            ],
        },
        {
            "title": "Where does it look?",
            "sections": [
                scores_section(atlas, head),
                offsets_section(atlas, head),
                _read("Its hardest look on each prompt", histogram_section, atlas, head),
                _read("Tokens it looks from, and at", looked_at_section, atlas, head),
                *folded,
            ],
        },
        {
            "title": "What does it write?",
            "sections": [
                _read("What it adds to the answer by itself", direct_logit_section, atlas, head),
                _read("Tokens it raises and lowers", tokens_section, atlas, head),
                _read("OV and QK by themselves", weights_section, atlas, head),
            ],
        },
        {
            "title": "Whom does it work with?",
            "sections": [_read("Composition with other heads", company_section, atlas, head)],
        },
        {"title": "", "sections": [_explained(atlas, effect)]},
    ]
    return {
        "title": head.label,
        "head": str(head),
        # Each group explains a word once: another may be folded away.
        "groups": [with_terms(group) for group in groups],
    }


def _read(title: str, section: Callable[..., dict], atlas: Atlas, head: HeadId) -> dict:
    """A section; of a file that lays this part out in another way, that it cannot be read."""
    try:
        return section(atlas, head)
    except (AtlasError, KeyError, IndexError) as error:
        log.warning("%s: %s cannot be read: %s", atlas.path, title, error)
        text = "This part of the atlas is damaged, or laid out in a way that this version of the app does not know."
        return {"kind": "empty", "title": title, "text": text}


def _explained(atlas: Atlas, effect: str) -> dict:
    names = [name for name in PATTERN_SCORES if score_families(atlas, name)]
    entries = [
        {
            "term": titled(measure.label),
            "text": " ".join(p for p in (measure.sentence, measure.pitfall) if p) + " ",
            "formula": measure.formula,
            "source": measure.source,
        }
        for measure in [*(PATTERN_SCORES[name] for name in names), *([EFFECTS[effect]] if effect else [])]
    ]
    return {
        "kind": "notes",
        "title": "",
        "summary": "What these measures are, and where they come from",
        "entries": entries,
    }
