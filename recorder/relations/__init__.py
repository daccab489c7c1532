"""How two recordings relate: which place of one is which of the other, and what differs."""
