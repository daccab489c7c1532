"""What runs while the model runs, and right after: from hooks to events. The only folder on the hot path."""
