"""Ways to get text out of a PDF, one module each, and what they all give."""
