"""Where a prompt family is not quite what its name says: a section of docs/measures.md."""

from __future__ import annotations

FAMILY_NOTES: dict[str, str] = {
    "completion": 'the answer stands earlier in the prompt ("The cat sat on the sofa. The cat sat on the"): it shows '
    "copying as much as local context, so it is no evidence for verb-object heads; `verb_object` is",
    "list_format": "the corrupted prompts have commas for the full stops behind the numbers, beside other numbers",
    "opposite": "it takes the place of antonym_icl, antonyms by examples in context: it asks for the opposite in words",
    "verb_object": "the answer is a noun that the verb can have for an object, the wrong one belongs to another verb; "
    "other nouns would be right too, so read the logit difference, not the rank",
    "syntax": "twice as many prompts as another family, because a relation occurs in some sentences only",
}


def family_section() -> list[str]:
    """The notes, as paragraphs."""
    rows = [f"- `{name}`: {note}." for name, note in FAMILY_NOTES.items()]
    return ["## Prompt families", "What to know of some families beyond their names:", "\n".join(rows)]
