"""The tour of a first visit: what it says, and where it points. Constant text of our own."""

from __future__ import annotations

TOUR: dict = {
    "title": "A first look",
    "steps": [
        {
            "at": "#start-grid .ha-grid-panel",
            "text": "Every square is one attention head of this model: a small reader that carries information between "
            "words. Colour says what its removal costs. Click one for all that is known of it.",
        },
        {
            "at": "#start-experiment .ha-experiment-panel",
            "text": "An experiment that this server has just run: with some heads removed the model forgets a name; "
            "with others removed, the control, it does not.",
        },
        {
            "tab": "Atlas",
            "text": "Atlas: what every head looks at, and what removing it changes, each number with its interval, its "
            "formula and its source.",
        },
        {
            "tab": "Lab",
            "text": "Lab: type a sentence of your own, remove heads with a click, and see how the prediction moves.",
        },
        {
            "tab": "Learn",
            "text": "Learn: ten short chapters. Predict first, run, and see whether you were right. New words explain "
            "themselves when you click them.",
        },
    ],
}
"""Five steps; `tab` names the tab that a step points at, `at` another place."""
