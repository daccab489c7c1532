"""The ranks of a job as MLCommons Chakra execution traces: one ``.et`` a rank, with ``comm_group.json`` beside.

Simulators such as ASTRA-sim run them on machines that nobody has yet. A trace has the calls of a rank, what each needs
of others, and what it issued in which process group: the facts of a recording, and none besides. How long a call took
is time on the Python side.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chakra_messages import COLLECTIVES, NODE_TYPES, delimited, message

from recorder import Graph, Node, StreamError, Value, hookimpl, load, utf8
from recorder.events import of_ranges

if TYPE_CHECKING:
    import click

__all__ = ["chakra_trace", "chakra_traces", "process_groups", "save_chakra"]

GROUPS = "comm_group.json"

Groups = Mapping[tuple[str, str], int]
"""The number of each process group, by its name and the ranks in it."""


def process_groups(graphs: Iterable[Graph]) -> dict[tuple[str, str], int]:
    """The process groups that some ranks issued operations in, numbered from 1: 0 is no number that simulators take."""
    found = {
        (facts["group"], facts["ranks"])
        for graph in graphs
        for node in graph.nodes
        if (facts := node.meta.get("collective")) is not None
    }
    ordered = sorted(found, key=lambda group: (of_ranges(group[1]), group[0]))
    return {group: number for number, group in enumerate(ordered, 1)}


def chakra_trace(graph: Graph, groups: Groups) -> bytes:
    """One rank as a trace: its metadata, then a node for each call, in the order of the run.

    Data dependencies are the edges of the graph. Control dependencies lead from a collective to the next one in the
    same group, as that order is all that keeps ranks together; and from a send or receive to the next one with the same
    rank. A send does not wait for a receive: two ranks that send to each other would wait for ever. ``num_ops`` and
    ``tensor_size`` (bytes read and written) are left out where they are not known, and so is a peer that the recording
    does not know.
    """
    facts = [message("AttributeProto", name="model", string_val=_text(graph.name))]
    rank = graph.meta.get("rank", 0)
    facts.append(message("AttributeProto", name="rank", int64_val=rank))
    parts = [delimited(message("GlobalMetadata", version="0.0.4", attr=facts))]
    ids = {id(node): number for number, node in enumerate(graph.nodes)}
    last: dict[tuple[int, str, int | None], int] = {}
    for node in graph.nodes:
        needs = sorted({ids[id(value.producer)] for value in node.inputs if value.producer is not None})
        issued = node.meta.get("collective")
        after: list[int] = []
        if issued is not None:
            paired = issued["op_type"] in NODE_TYPES
            channel = groups[issued["group"], issued["ranks"]], issued["op_type"] if paired else "", issued.get("peer")
            after = [last[channel]] if channel in last else []
            last[channel] = ids[id(node)]
        parts.append(delimited(_node(graph, node, ids[id(node)], needs, after, groups)))
    return b"".join(parts)


def chakra_traces(graphs: Sequence[Graph], name: str = "trace") -> dict[str, bytes]:
    """The traces of a job, by the name of the file: ``trace.0.et`` and so on, and ``comm_group.json``.

    Args:
        graphs: one for each rank, as `recorder.load` reads it.
        name: what the files of the ranks are called, before the number.

    Raises:
        StreamError: two graphs are of the same rank, or one is of several.
    """
    by_rank: dict[int, Graph] = {}
    for graph in graphs:
        if graph.links:
            raise StreamError("a trace is of one rank: give the recording of each, and not a graph of all")
        rank = graph.meta.get("rank", 0)
        if rank in by_rank:
            raise StreamError(f"two recordings are of rank {rank}")
        by_rank[rank] = graph
    groups = process_groups(by_rank.values())
    members = {str(number): list(of_ranges(ranks)) for (_, ranks), number in groups.items()}
    files = {f"{name}.{rank}.et": chakra_trace(graph, groups) for rank, graph in sorted(by_rank.items())}
    return {**files, GROUPS: json.dumps(members).encode()}


def save_chakra(paths: Iterable[Path | str], prefix: Path | str) -> list[Path]:
    """Write the traces of a job: ``runs/job`` as a prefix gives ``runs/job.0.et`` and ``runs/comm_group.json``.

    Args:
        paths: the recordings of the ranks (``.jsonl``), also of a job that was killed.
        prefix: a folder that is there, and the beginning of the names.

    Raises:
        StreamError: a file is no recording, or two are of the same rank.
        OSError: a file cannot be read or written.
    """
    prefix = Path(prefix)
    written = []
    for name, data in chakra_traces([load(path) for path in paths], prefix.name).items():
        written.append(prefix.with_name(name))
        written[-1].write_bytes(data)
    return written


def _node(graph: Graph, node: Node, number: int, needs: list[int], after: list[int], groups: Groups) -> Any:
    issued = node.meta.get("collective")
    attributes: dict[str, dict[str, Any]] = {"is_cpu_op": {"bool_val": False}, "op_type": {"string_val": node.op_type}}
    if issued is None:
        kind = "compute"
        attributes |= _work(graph, node)
    else:
        kind = issued["op_type"] if issued["op_type"] in NODE_TYPES else "collective"
        attributes |= _issued(issued, kind, groups[issued["group"], issued["ranks"]])
    return message(
        "Node",
        id=number,
        name=_text(node.name),
        type=NODE_TYPES[kind],
        ctrl_deps=after,
        data_deps=needs,
        duration_micros=(node.duration_ns or 0) // 1000,
        inputs=_tensors(node.inputs),
        outputs=_tensors(node.outputs),
        attr=[message("AttributeProto", name=name, **value) for name, value in attributes.items()],
    )


def _issued(facts: Mapping[str, Any], kind: str, group: int) -> dict[str, dict[str, Any]]:
    """What is said of an operation between ranks. torch does not tell the tag of a send: the how-manieth it was between
    the two is one that fits.
    """
    shapes = facts.get("inputs") or facts.get("outputs") or []
    size = _bytes_of(facts.get("dtype", ""))
    said: dict[str, dict[str, Any]] = {"pg_name": {"string_val": str(group)}}
    if size is not None or not shapes:
        said["comm_size"] = {"int64_val": sum(_elements(shape) for shape in shapes) * (size or 0)}
    if kind == "collective":
        known = COLLECTIVES.get(facts["op_type"])
        said |= {} if known is None else {"comm_type": {"int64_val": known}}
        said |= {} if facts.get("root") is None else {"root": {"int32_val": facts["root"]}}
        return said
    ends = (facts["rank"], facts.get("peer"))
    source, target = ends if kind == "send" else ends[::-1]
    said |= {} if source is None else {"comm_src": {"int32_val": source}}
    said |= {} if target is None else {"comm_dst": {"int32_val": target}}
    return said | {"comm_tag": {"int32_val": facts["number"]}}


def _work(graph: Graph, node: Node) -> dict[str, dict[str, Any]]:
    """How much a call computes, and how much it reads and writes, as far as that is known."""
    said: dict[str, dict[str, Any]] = {}
    flops = (graph.metrics.get(node) or {}).get("flops")
    if flops is not None:
        said["num_ops"] = {"int64_val": int(flops)}
    sizes = [(_elements(value.shape), _bytes_of(value.dtype)) for value in {*node.inputs, *node.outputs}]
    if sizes and all(size is not None and count >= 0 for count, size in sizes):
        said["tensor_size"] = {"uint64_val": sum(count * (size or 0) for count, size in sizes)}
    return said


def _tensors(values: Sequence[Value]) -> Any:
    told = [[_text(value.name) for value in values], [list(value.shape) for value in values]]
    return message(
        "IOInfo",
        values=json.dumps(told[0]),
        shapes=json.dumps(told[1]),
        types=json.dumps([value.dtype for value in values]),
    )


def _elements(shape: Sequence[int]) -> int:
    """-1 if a size is not known."""
    count = 1
    for size in shape:
        if size < 0:
            return -1
        count *= size
    return count


def _bytes_of(dtype: str) -> int | None:
    """What one element takes, by the bits that its name tells; None if it tells none."""
    bits = re.match(r"[a-z]+(\d+)", dtype)
    return 1 if dtype == "bool" else None if bits is None or int(bits[1]) % 8 else int(bits[1]) // 8


def _text(text: str) -> str:
    """What protobuf's strings hold: half of a character as its escape."""
    return utf8(text).decode()


@hookimpl
def recorder_register_commands(cli: "click.Group") -> None:
    """Add ``recorder chakra``."""
    import click

    @cli.command()
    @click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
    @click.option("-o", "--output", metavar="PREFIX", required=True, type=click.Path(path_type=Path))
    def chakra(files: tuple[Path, ...], output: Path) -> None:
        """Write the ranks of a job as Chakra execution traces: PREFIX.0.et, PREFIX.1.et, …, and comm_group.json.

        FILE is the recording of one rank (.jsonl).
        """
        try:
            written = save_chakra(files, output)
        except OSError as error:
            raise StreamError(str(error)) from error
        click.echo(f"wrote {len(written) - 1} traces and {GROUPS} into {output.parent}")
