"""The graph, its names, and how it is written down."""
