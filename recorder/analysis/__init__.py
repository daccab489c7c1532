"""What a graph tells beyond its structure: costs, and what is wrong with gradients."""
