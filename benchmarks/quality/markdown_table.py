"""Tables in Markdown."""


def markdown_table(header, rows):
    """Returns a table of strings, the first column to the left, others to the right."""
    ruler = "|---|" + "--:|" * (len(header) - 1)
    return "\n".join(
        ["| " + " | ".join(row) + " |" for row in [header]]
        + [ruler]
        + ["| " + " | ".join(row) + " |" for row in rows]
    )
