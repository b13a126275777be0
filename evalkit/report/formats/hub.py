"""Scores as metadata of the Hugging Face Hub: a README's ``model-index`` and the files in ``.eval_results/``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from evalkit.errors import EvalkitError, IncompleteError, UsageError
from evalkit.runs.folder import RowResult
from evalkit.summary import of_official

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TASK_TYPE = "image-text-to-text"


class Measurement(NamedTuple):
    """One score of one model.

    Attributes:
        name: the task, or the card row that is a mean of several tasks.
        label: the benchmark as the card prints it.
        metric: what the number is.
        result: the score; never None.
        repo: dataset on the Hub with the same samples; None if there is none.
        config: its configuration.
        split: its split.
    """

    name: str
    label: str
    metric: str
    result: RowResult
    repo: str | None = None
    config: str | None = None
    split: str | None = None


def _metric_name(measurement: Measurement) -> str:
    """Return what the Hub prints next to the number: a partial n must be visible."""
    result = measurement.result
    n = f"n {result.n}" if result.n == result.expected_n else f"partial: n {of_official(result.n, result.expected_n)}"
    return f"{measurement.metric} ({measurement.name}, {n})"


def _entry(measurement: Measurement) -> EvalResult:
    from huggingface_hub import EvalResult

    result = measurement.result
    args: dict[str, Any] = {"n": result.n, "expected_n": result.expected_n}
    if result.ci95 is not None:
        args["ci95"] = [round(edge, 4) for edge in result.ci95]
    return EvalResult(
        task_type=TASK_TYPE,
        dataset_type=measurement.repo or measurement.name,
        dataset_name=measurement.label,
        dataset_config=measurement.config,
        dataset_split=measurement.split,
        metric_type=measurement.metric if measurement.repo else measurement.metric.split(" ")[0].strip(","),
        metric_name=_metric_name(measurement),
        metric_value=round(result.score or 0.0, 4),
        metric_args=args,
    )


def model_index_yaml(model: str, measured: Sequence[Measurement], notes: Sequence[str], source: str) -> str:
    """Return the YAML that goes between the ``---`` lines of a model's README.

    Args:
        model: the model's name.
        measured: its scores.
        notes: caveats about all scores, the most serious first: it follows the model's name, all are comments.
        source: the program that measured the scores.

    Raises:
        EvalkitError: huggingface_hub does not read the same results back.
    """
    from huggingface_hub import ModelCardData

    entries = [_entry(measurement) for measurement in measured]
    name = f"{model} ({notes[0]})" if notes else model
    data = ModelCardData(model_name=name, eval_results=entries)
    text = data.to_yaml()
    again = ModelCardData(**yaml.safe_load(text))
    if again.model_name != name or sorted(map(repr, again.eval_results or [])) != sorted(map(repr, entries)):
        raise EvalkitError("huggingface_hub does not read the same results back from the model-index")
    head = [f"{source}: goes between the --- lines at the top of the model's README.md", *notes]
    return "".join(f"# {' '.join(line.split())}\n" for line in head) + text.rstrip("\n") + "\n"


def eval_results_yaml(model: str, measured: Sequence[Measurement], notes: Sequence[str], source: str) -> str:
    """Return the content of a file in a model repository's ``.eval_results/`` folder.

    These values join the benchmark's leaderboard on the Hub, so only whole splits of data sets on the Hub go in.

    Args:
        model: the model's name.
        measured: its scores.
        notes: caveats about all scores.
        source: the program that measured the scores.

    Raises:
        IncompleteError: no score of a whole split with a copy on the Hub.
        UsageError: the installed huggingface_hub is too old.
    """
    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, parse_eval_result_entries
    except ImportError as error:
        raise UsageError("--format eval-results needs huggingface_hub 1.4 or newer: pip install -U") from error
    whole = [item for item in measured if item.repo and item.result.n == item.result.expected_n]
    if not whole:
        raise IncompleteError(
            f"no score of {model} qualifies for a Hub leaderboard: none covers a whole split of a Hub dataset"
        )
    entries = [
        EvalResultEntry(
            dataset_id=item.repo or "",
            task_id=item.config or "default",
            value=round(item.result.score or 0.0, 4),
            notes="; ".join([f"{_metric_name(item)}, {source}", *notes, *item.result.settings]),
        )
        for item in whole
    ]
    content = eval_result_entries_to_yaml(entries)
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    if parse_eval_result_entries(yaml.safe_load(text)) != entries:
        raise EvalkitError("huggingface_hub does not read the same results back from the YAML")
    return text
