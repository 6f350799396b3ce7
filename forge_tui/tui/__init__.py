"""The screens: a Textual app that shows a run and steers it. Nothing is imported here, so that looking at one
part (what the terminal can show, say) does not load Textual."""
