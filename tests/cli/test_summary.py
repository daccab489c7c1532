"""``recorder summary``."""

import json
from pathlib import Path

import pytest
from support.command_line import fails, run, works

import recorder
from recorder.summary import Summary
from recorder.testing import sample_graphs


@pytest.mark.parametrize("source", ["run.jsonl", "graph.json"])
def test_summary_of_a_file(saved, source):
    graph = (
        sample_graphs()["residual"] if source == "run.jsonl" else recorder.loads(Path(source).read_bytes())
    )  # without times
    expected = Summary(graph)
    assert works("summary", source).stdout == expected.to_text()
    expected = Summary(graph, 0, columns=["module", "parameters"], functions=True)
    chosen = ("--depth", 0, "--columns", "module,parameters", "--rows-of-functions")
    assert works("summary", source, *chosen).stdout == expected.to_text()
    assert works("summary", source, *chosen, "--as", "markdown").stdout == expected.to_markdown()
    assert works("summary", source, *chosen, "--as", "csv").stdout == expected.to_csv()
    assert len(works("summary", source, "--columns", "all", "--as", "csv").stdout.splitlines()[0].split(",")) > 20


def test_summary_shows_once_what_repeats(saved):
    graph = sample_graphs()["residual"]
    folded = Summary(graph, fold=True)
    assert works("summary", "run.jsonl", "--fold").stdout == folded.to_text()
    assert folded.totals() == Summary(graph).totals()
    assert len(folded.rows) < len(Summary(graph).rows)


def test_summary_of_a_model_runs_it_as_record_does(project):
    result = works("summary", "mynet:Net", "--input", "1,4", "--backward", "--columns", "module,flops_backward")
    assert result.stdout.startswith("Net\n\nmodule")
    assert result.stderr.splitlines()[1] == "recording Net on 1,4, forward and backward"


def test_summary_says_what_is_wrong(saved):
    assert fails("summary", "nothing.jsonl") == "there is no file nothing.jsonl"
    assert fails("summary", "run.jsonl", "--input", "1,4").startswith("run.jsonl is recorded already")
    assert fails("summary", "run.jsonl", "--columns", "module,size").startswith("there is no column 'size'; there are:")
    assert "-1 is not in the range" in fails("summary", "run.jsonl", "--depth", -1)


def test_summary_shows_what_there_is_of_a_model_that_fails(project):
    result = run("summary", "mynet:Net", "--input", "1,5")
    assert result.exit_code == 1
    assert "RuntimeError" in result.stdout
    assert "the model failed, and the recording ends there" in result.stderr


def test_summary_as_json_is_for_programs(saved):
    summary = Summary(recorder.loads(Path("graph.json").read_bytes()), columns=["module", "gradient", "parameters"])
    summary.total["odd"] = float("inf")
    told = json.loads(summary.to_json())
    assert told["rows"] == summary.records()
    assert told["total"] == {**summary.total, "odd": None}
    assert told["model"] == "Residual"
    chosen = ("--columns", "module,parameters", "--depth", 0)
    assert json.loads(works("summary", "graph.json", "--as", "JSON", *chosen).stdout)["rows"] == [
        {"module": "Residual", "parameters": summary.records()[0]["parameters"]}
    ]


def test_several_sources_have_a_table_each(saved):
    told = works("summary", "graph.json", "run.jsonl").stdout
    tables = [works("summary", source).stdout for source in ("graph.json", "run.jsonl")]
    assert told == f"graph.json\n\n{tables[0]}\nrun.jsonl\n\n{tables[1]}"


def test_a_model_that_wanted_integers_says_how_they_are_given(project):
    result = run("summary", "mynet:Tokens", "--input", "1,4")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("integers are given as --input 1,16:int64<100, from 0 to below 100")
