"""The Gradio app. Callbacks read their input, call live, store and views, and return; they hold no formulas."""
