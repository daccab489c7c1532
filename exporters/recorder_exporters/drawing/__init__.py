"""What all drawings share: which words stand where, in which colours, and what is drawn at all, before any format."""
