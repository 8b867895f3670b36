"""Theme and launch options: one place for what the page looks like and what the server allows."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from head_atlas.app.components import scripts
from head_atlas.app.embedding import embed_routes
from head_atlas.app.front_page import FrontPage
from head_atlas.app.limits import Limits
from head_atlas.app.public_api.mcp_tools import TrueCaller
from head_atlas.app.public_api.refusals import exception_handlers

if TYPE_CHECKING:
    from head_atlas.app.library import Library

# Gradio ships the semi-bold cut with few glyphs, so headings use the bold one.
_FONT = (gr.themes.utils.fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif")
_MONO = (gr.themes.utils.fonts.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace")


def theme() -> gr.themes.Base:
    """Quiet paper and ink, one accent; all colours are variables of `assets/look.css` or of Gradio's theme."""
    both: dict[str, str] = {}
    pairs = {
        "body_background_fill": ("#f7f6f2", "#101517"),
        "body_text_color": ("#1d2529", "#e8eceb"),
        "body_text_color_subdued": ("#56626a", "#a3afb3"),
        "background_fill_primary": ("#ffffff", "#182023"),
        "background_fill_secondary": ("#f1efe9", "#1f292d"),
        "border_color_primary": ("#dedbd1", "#2d393e"),
        "border_color_accent": ("#0f6674", "#5cc5c2"),
        "color_accent_soft": ("#e2eff0", "#1d3a3e"),
        "block_background_fill": ("#ffffff", "#182023"),
        "block_border_color": ("#dedbd1", "#2d393e"),
        "block_label_text_color": ("#56626a", "#a3afb3"),
        "block_title_text_color": ("#3d484e", "#c3cccf"),
        "block_info_text_color": ("#56626a", "#a3afb3"),
        "input_background_fill": ("#ffffff", "#11181b"),
        "input_background_fill_focus": ("#ffffff", "#11181b"),
        "input_border_color": ("#c9c5b9", "#3a494f"),
        "input_border_color_focus": ("#0f6674", "#5cc5c2"),
        "input_placeholder_color": ("#6b767c", "#8d9a9f"),
        "button_primary_background_fill": ("#0f5c69", "#5cc5c2"),
        "button_primary_background_fill_hover": ("#0b4a55", "#7bd6d2"),
        "button_primary_text_color": ("#ffffff", "#0c1a1c"),
        "button_primary_border_color": ("#0f5c69", "#5cc5c2"),
        "button_secondary_background_fill": ("#ffffff", "#202b2f"),
        "button_secondary_background_fill_hover": ("#efede6", "#2a373c"),
        "button_secondary_text_color": ("#1d2529", "#e8eceb"),
        "button_secondary_border_color": ("#c9c5b9", "#3a494f"),
        "checkbox_background_color_selected": ("#0f5c69", "#2f8f8f"),
        "checkbox_border_color_selected": ("#0f5c69", "#5cc5c2"),
        "checkbox_border_color_focus": ("#0f5c69", "#5cc5c2"),
        "checkbox_label_background_fill": ("#ffffff", "#202b2f"),
        "checkbox_label_background_fill_hover": ("#f1efe9", "#2a373c"),
        "checkbox_label_background_fill_selected": ("#e2eff0", "#1d3a3e"),
        "checkbox_label_border_color": ("#c9c5b9", "#3a494f"),
        "link_text_color": ("#0f5c69", "#7bd6d2"),
        "link_text_color_hover": ("#0b4a55", "#a5e6e2"),
        "link_text_color_visited": ("#0f5c69", "#7bd6d2"),
        "link_text_color_active": ("#0b4a55", "#a5e6e2"),
    }
    for name, (light, dark) in pairs.items():
        both[name], both[f"{name}_dark"] = light, dark
    return gr.themes.Base(font=_FONT, font_mono=_MONO, radius_size="md", spacing_size="md", text_size="md").set(
        block_shadow="none",
        block_border_width="1px",
        block_label_background_fill="transparent",
        button_primary_shadow="none",
        button_secondary_shadow="none",
        button_border_width="1px",
        input_border_width="1px",
        layout_gap="16px",
        **both,
    )


BROWSING_THREADS = 40
"""Threads for all that is no run."""


def launch_options(library: Library, limits: Limits | None = None) -> dict[str, Any]:
    """Options of `Blocks.launch`: no other host is contacted, no error detail leaks; a head's card can be embedded.

    Args:
        library: what the embedded cards are of.
        limits: of the server; a run that waits for its turn holds a thread.
    """
    return {
        "max_threads": BROWSING_THREADS + (limits or Limits()).queue_size,
        "theme": theme(),
        "css": "\n".join(
            files("head_atlas.app").joinpath("assets", name).read_text(encoding="utf-8")
            for name in ("look.css", "atlas.css")
        ),
        "head": '<meta name="description" content="What each attention head of a language model does, and what '
        f'happens without it."><script>{scripts()}</script>',
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "footer_links": ["api"],
        "max_file_size": "1mb",
        "strict_cors": True,
        "quiet": True,
        "app_kwargs": {
            # Routes that are there before Gradio adds its own.
            "routes": embed_routes(library),
            "exception_handlers": exception_handlers(),
            # Gradio compresses its files, but neither the page (its configuration is most of a megabyte) nor answers.
            "middleware": [
                Middleware(FrontPage),
                Middleware(TrueCaller),
                Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4),
            ],
        },
    }
