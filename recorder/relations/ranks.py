"""The ranks of one job as one graph: side by side, with links between them."""

from collections.abc import Iterable, Mapping, Sequence

from recorder.assembly.assembler import assemble
from recorder.errors import StreamError
from recorder.events.rank_ranges import as_ranges, ranks_in_words
from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.links import Link
from recorder.relations.rank_files import Paths, RankFile, rank_files
from recorder.relations.rank_links import Class, links_between

__all__ = ["merge"]


@collector_held_back()
def merge(paths: Paths, *, ranks: Iterable[int] | None = None, expect: int | None = None, fold: bool = True) -> Graph:
    """The recordings of the ranks of a job as one graph.

    Each rank is a scope of its own, named ``rank 0``. Ranks that did the same are there once, as ``ranks 0–999``: all
    that they called, on tensors of the same sizes, in groups of the same sizes; arguments of functions are those of the
    first one. `Graph.links` has what they issued together. Files of a job that still runs or was killed are taken as
    far as they go.

    Args:
        paths: the files that the ranks were recorded into, or a pattern: ``"runs/*.jsonl"``.
        ranks: of these alone; of all, if None.
        expect: so many ranks there should be; ``graph.meta["ranks"]`` says which are missing. As many as the job had,
            if None.
        fold: show ranks that did the same once.

    Raises:
        StreamError: a file is no recording of a rank, two are of the same one, or a rank is wanted that is not there.
        OSError: a file cannot be read.
    """
    files = {file.rank: file for file in rank_files(paths)}
    if ranks is not None:
        wanted = sorted(set(ranks))
        if absent := [rank for rank in wanted if rank not in files]:
            raise StreamError(f"there is no recording of {ranks_in_words(absent)}, but of {ranks_in_words([*files])}")
        files = {rank: files[rank] for rank in wanted}
    classes = _classes(files, fold)
    beside = _Beside()
    for one in classes:
        beside.add(one)
    return beside.graph(files, links_between(classes, files), expect)


def _classes(files: Mapping[int, RankFile], fold: bool) -> list[Class]:
    """The ranks that did the same, by the lowest one."""
    found: dict[object, list[int]] = {}
    summaries = {rank: file.summed_up() for rank, file in files.items()} if fold else {}
    for rank in files:
        found.setdefault(summaries[rank].structure if fold else rank, []).append(rank)
    return [Class(tuple(ranks), assemble(files[ranks[0]].stream())) for ranks in found.values()]


class _Beside:
    """Graphs beside each other, each in a scope. Their nodes and values become those of the new graph."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._scopes: list[Scope] = []
        self._inputs: list[Value] = []
        self._outputs: list[Value] = []
        self._initializers: list[Value] = []
        self._input_names: list[str] = []
        self._output_names: list[str] = []
        self._name = ""

    def add(self, one: Class) -> None:
        """Take a class of ranks."""
        graph, label = one.graph, ranks_in_words(one.ranks)
        top = Scope("", 0, label, None, label)
        top.meta["ranks"] = as_ranges(one.ranks)
        for value in (*graph.values(), *graph.values_of_calls()):
            value.name = f"{label}.{value.name}"
            value.uses = []
        for scope in graph.scopes:
            scope.name = f"{label}.{scope.name}"
            scope.parent = scope.parent or top
        for node in graph.nodes:
            node.name = f"{label}.{node.name}"
            node.scope = node.scope or top
        top.inputs, top.outputs = tuple(graph.inputs), tuple(graph.outputs)
        top.input_names, top.output_names = tuple(graph.input_names), tuple(graph.output_names)
        self._scopes += [top, *graph.scopes]
        self._nodes += graph.nodes
        self._inputs += graph.inputs
        self._outputs += graph.outputs
        self._initializers += graph.initializers
        self._input_names += [f"{label}.{name}" for name in graph.input_names]
        self._output_names += [f"{label}.{name}" if name else label for name in graph.output_names]
        self._name = self._name or graph.name

    def graph(self, files: Mapping[int, RankFile], links: Sequence[Link], expect: int | None) -> Graph:
        """All of them."""
        first = next(iter(files.values()))
        size = max([expect or 0, *(int(file.meta.get("world_size", 0)) for file in files.values())])
        missing = sorted(set(range(size)) - set(files))
        running = [rank for rank, file in files.items() if not file.ended]
        said = {"present": files, "missing": missing, "not_ended": running}
        meta = {key: value for key, value in first.meta.items() if key not in ("rank", "host")}
        meta["ranks"] = {name: as_ranges(ranks) for name, ranks in said.items() if ranks}
        return Graph(
            self._nodes,
            inputs=self._inputs,
            outputs=self._outputs,
            initializers=self._initializers,
            scopes=self._scopes,
            name=self._name,
            meta=meta,
            input_names=self._input_names,
            output_names=self._output_names,
            links=links,
        )
