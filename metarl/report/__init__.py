"""Pages of results: several runs side by side in Markdown, HTML and LaTeX."""
