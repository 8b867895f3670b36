"""Arrays to what the page draws: plain dicts of strings and numbers. No files, no Gradio, no torch.

Every string in these dicts reaches the page as a text node. Nothing here makes HTML out of data.
"""
