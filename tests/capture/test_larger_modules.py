"""torch's own larger modules."""

from typing import Any

import pytest
import torch
from support.models import Net, in_words, record, written, x
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


@pytest.mark.supported("packed sequences")
def test_an_lstm_with_packed_sequences() -> None:
    def forward(net: Net, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        out, (h, _) = net.lstm(packed)
        padded, _ = pad_packed_sequence(out, batch_first=True)
        return padded, h

    net = Net(forward, lstm=nn.LSTM(4, 3, bias=False))
    graph = record(net, x(2, 5, 4), torch.tensor([5, 3]))
    assert in_words(graph) == written(
        """
        inputs: input input_1
        Net: to = to(input_1)
        Net: PACK = PACK(input, to:0) -> PACK:0 PACK:1
        Net: lstm = LSTM(PACK:0, PACK:1, lstm.weight_ih_l0, lstm.weight_hh_l0) -> lstm:0 lstm:1 lstm:2 lstm:3
        Net: PAD = PAD(lstm:0, lstm:1) -> PAD:0 PAD:1
        outputs: PAD:0 lstm:2
    """.replace("PACK", "_pack_padded_sequence").replace("PAD", "_pad_packed_sequence")
    )


def test_multi_head_attention(grad_mode: Any) -> None:
    net = Net(lambda net, x: net.attention(x, x, x, need_weights=False)[0] + x, attention=nn.MultiheadAttention(4, 2))
    weights = ", ".join(f"attention.{name}" for name, _ in net.attention.named_parameters())
    for training in (True, False):
        with grad_mode():
            graph = record(net.train(training), x(3, 2, 4))
        assert in_words(graph) == written(
            """
            inputs: input
            Net: attention = MultiheadAttention(input, input, input, WEIGHTS)
            Net: add = add(attention:0, input)
            outputs: add:0
        """.replace("WEIGHTS", weights)
        )


def test_multi_head_attention_has_the_weights_of_its_projection() -> None:
    attention = nn.MultiheadAttention(4, 2)
    graph = record(Net(lambda net, x: net.attention(x, x, x), attention=attention), x(3, 2, 4))
    (node,) = graph.nodes
    assert [v.name for v in node.inputs[3:]] == [f"attention.{name}" for name, _ in attention.named_parameters()]
