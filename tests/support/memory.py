"""Tests of memory need a torch that lets one look at what autograd keeps."""

import pytest

from recorder.capture.saved_tensors import CAN_LOOK

__all__ = ["CAN_LOOK", "needs_memory"]

needs_memory = pytest.mark.skipif(not CAN_LOOK, reason="torch tells what autograd keeps since 2.10")
