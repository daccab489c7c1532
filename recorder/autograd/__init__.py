"""The autograd graph: read from tensors that are alive, or as a recorded run built it."""
