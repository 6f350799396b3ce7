"""The HTML report: its sections, and the template, style and scripts that make a page of them."""
