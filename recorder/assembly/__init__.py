"""From events to a graph: pure, and without torch."""
