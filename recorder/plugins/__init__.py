"""What plugins are told, how they are found, and how a graph gets to an exporter."""
