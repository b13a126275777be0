"""Data and checkpoints from strangers, full disks and secrets: refused or survived, in one line each."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit import files
from evalkit.card import load_card
from evalkit.data.readers import read_jsonl, read_records, read_tsv
from evalkit.data.root import DataRoot
from evalkit.errors import EvalkitError, UsageError
from evalkit.inference.worker import robust_answers
from evalkit.models.base import MediaGroup, Model
from evalkit.models.internvl2.config import read_config
from evalkit.records import Generation, Outcome, Request, Response
from evalkit.redact import redact, redact_command
from evalkit.runs.store import ShardWriter, read_predictions, read_shards
from tests.conftest import REPO, Cli


def test_links_on_disk_are_followed_and_paths_in_data_files_may_not_leave(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.png").write_bytes(b"")
    data = tmp_path / "root" / "data"
    data.mkdir(parents=True)
    (data / "LMUData").symlink_to(outside)
    (tmp_path / "link").symlink_to(tmp_path / "root")
    for root in (DataRoot(tmp_path / "root"), DataRoot(data), DataRoot(tmp_path / "link")):
        assert root.resolve("data/LMUData/a.png").is_file()
        for path in ("../outside/a.png", "data/../../outside/a.png", str(outside / "a.png"), "data/a\0.png"):
            with pytest.raises(UsageError, match="leaves the data root"):
                root.resolve(path)


def test_an_image_outside_the_root_is_that_samples_failure(demo: Path, cli: Cli, tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "run"
    shutil.copytree(demo / "data", root / "data")
    file = root / "data" / "textvqa" / "textvqa_val.jsonl"
    first, *others = file.read_text(encoding="utf-8").splitlines()
    outside = json.loads(first) | {"image": "../elsewhere.jpg"}
    shutil.copy(root / json.loads(first)["image"], tmp_path / "elsewhere.jpg")
    file.write_text("\n".join([json.dumps(outside), *others]), encoding="utf-8")
    args = ["--tasks", "textvqa_val", "--data-root", root, "--out", out]
    done = cli("run", "--model", demo / "checkpoint", *args)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    records = [json.loads(line) for line in (out / "textvqa_val" / "scores.jsonl").read_text().splitlines()]
    failed = [record["reason"] for record in records if record["outcome"] == "media_error"]
    assert len(failed) == 1 and "leaves the data root" in failed[0]


class Narrow(Model):
    """A model whose memory holds some questions at a time, and never the one that is too large."""

    def __init__(self, room: int, too_large: str = "") -> None:
        self.room = room
        self.too_large = too_large
        self.sizes: list[int] = []

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        (requests,) = [group.requests for group in groups]
        self.sizes.append(len(requests))
        if len(requests) > self.room or any(request.id == self.too_large for request in requests):
            raise RuntimeError(f"CUDA out of memory at {len(requests)}\nand more")
        for request in requests:
            yield request, Response(request.id, "yes")


def test_out_of_memory_halves_down_to_one_sample() -> None:
    group = [Request("t", i, str(i), "?", (), Generation(4)) for i in range(16)]
    model = Narrow(4)
    found = [(request.id, response.outcome) for request, response in robust_answers(model, [MediaGroup(group, [])])]
    assert found == [(str(i), Outcome.OK) for i in range(16)]
    assert model.sizes == [16, 8, 4, 4, 8, 4, 4]
    model = Narrow(16, too_large="5")
    responses = [response for _, response in robust_answers(model, [MediaGroup(group, [])])]
    assert [item.id for item in responses] == [str(i) for i in range(16)]
    assert [(item.id, item.reason) for item in responses if item.outcome is Outcome.MODEL_ERROR] == [
        ("5", "CUDA out of memory at 1")
    ]
    assert max(model.sizes[1:]) == 8


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """The kernel takes a part of the line and refuses the rest, as a disk with little space does."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from evalkit.records import Response\n"
        "from evalkit.runs.store import ShardWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with ShardWriter(Path(sys.argv[1])) as writer:\n"
        "    for i in range(100):\n"
        "        writer.append(Response(str(i), 'x' * 50))\n"
    )
    shard = tmp_path / "shards" / "rank0.jsonl"
    done = subprocess.run([sys.executable, "-c", code, str(shard)], capture_output=True, text=True, cwd=REPO)
    assert f"UsageError: {shard}: cannot be written (File too large); all answers so far are kept" in done.stderr
    kept = read_shards(shard.parent)
    assert shard.read_bytes().endswith(b"\n") and 0 < shard.stat().st_size <= 1000
    assert list(kept) == [str(i) for i in range(len(kept))] and len(kept) > 5
    with ShardWriter(shard) as writer:
        writer.append(Response("later", "y"))
    assert list(read_shards(shard.parent)) == [*kept, "later"]


def test_a_run_on_a_full_disk_ends_in_one_line_and_continues(demo: Path, cli: Cli, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    lines = (demo / "data" / "docvqa" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    ids = [str(json.loads(line)["question_id"]) for line in lines]
    answers.write_text("".join(json.dumps({"id": key, "response": "x" * 900}) + "\n" for key in ids))
    command = [sys.executable, "-m", "evalkit", "run", "--model", f"replay:{answers}", "--tasks", "docvqa_test"]
    command += ["--data-root", str(demo), "--out", str(tmp_path / "run")]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, preexec_fn=limit, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "rank0.jsonl: cannot be written (File too large)" in done.stderr
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 0 and ": 0 already answered" not in done.stderr
    kept = (tmp_path / "run" / "docvqa_test" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in kept] == ids


def test_a_file_that_cannot_be_written_keeps_its_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.json"
    files.write_atomically(path, "old")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*scores\.json'"):
        files.write_atomically(path, "new")
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("scores.json", "old")]


def test_an_interrupted_fetch_leaves_no_torn_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.data.hub import write_vqa

    (tmp_path / "data").mkdir()
    rows = [{"image": {"bytes": bytes([i]) * 1000}, "question": "?", "answer": "x"} for i in range(3)]

    def torn(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", torn)
        with pytest.raises(KeyboardInterrupt):
            write_vqa(rows, DataRoot(tmp_path), file="data/a.jsonl", images="data/{image_sha1}.png")
    assert not list(tmp_path.glob("data/*.png")) and not (tmp_path / "data" / "a.jsonl").exists()
    assert write_vqa(rows, DataRoot(tmp_path), file="data/a.jsonl", images="data/{image_sha1}.png") == 3
    assert [path.stat().st_size for path in tmp_path.glob("data/*.png")] == [1000] * 3


def test_a_pickle_is_refused_with_a_command_that_converts_it(demo: Path, cli: Cli, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(demo / "checkpoint", checkpoint)
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    torch.save(weights, checkpoint / "pytorch_model.bin")
    args = ["--tasks", "docvqa_test", "--data-root", demo, "--out", tmp_path / "run", "--limit", "1"]
    done = cli("run", "--model", checkpoint, *args)
    assert done.returncode == 2 and "pytorch_model.bin may run code when read" in done.stderr
    convert = done.stderr[done.stderr.index("python -c") :].replace("python", sys.executable, 1)
    subprocess.run(convert, shell=True, cwd=checkpoint, check=True)
    (converted,) = checkpoint.glob("*.safetensors")
    again = load_file(converted)
    assert again.keys() == weights.keys() and all(torch.equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize("flags", [[], ["--trust-remote-code"]])
def test_code_of_a_checkpoint_never_runs(flags: list[str], demo: Path, cli: Cli, tmp_path: Path) -> None:
    checkpoint, marker = tmp_path / "checkpoint", tmp_path / "it-ran"
    shutil.copytree(demo / "checkpoint", checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.T", None]}
    (checkpoint / "config.json").write_text(json.dumps(config))
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"auto_map": config["auto_map"]}))
    for name in ("evil", "configuration_internvl_chat", "modeling_internvl_chat"):
        (checkpoint / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')\n")
    args = ["--tasks", "docvqa_test", "--data-root", demo, "--out", tmp_path / "run", "--limit", "1", *flags]
    done = cli("run", "--model", checkpoint, *args)
    assert done.returncode == 0, done.stderr
    assert not marker.exists()
    assert ("never runs code from a checkpoint" in done.stderr) == bool(flags)


SECRETS = ("s3cr3tp4ss", "hf_abcdefghijklmnopqrstuvwx", "sk-abcdefghijklmnop1234")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("openai:http://me:s3cr3tp4ss@host:80/v1#m", "openai:http://***@host:80/v1#m"),
        ("https://hf_abcdefghijklmnopqrstuvwx@huggingface.co/x", "https://***@huggingface.co/x"),
        ("--hub-token=hf_abcdefghijklmnopqrstuvwx", "--hub-token=***"),
        ("http://host/v1?api_key=s3cr3tp4ss&x=1", "http://host/v1?api_key=***&x=1"),
        ("Authorization: Bearer sk-abcdefghijklmnop1234", "Authorization: Bearer ***"),
        ("use hf_abcdefghijklmnopqrstuvwx here", "use *** here"),
        ("runs/1b@home, OpenGVLab/InternVL2-1B, max_new_tokens: 100", None),
        ("http://host:8000/v1#name and mail@host", None),
    ],
)
def test_credentials_are_hidden_and_nothing_else(text: str, shown: str | None) -> None:
    assert redact(text) == (text if shown is None else shown)


def test_no_credentials_in_run_json_or_messages(demo: Path, cli: Cli, tmp_path: Path) -> None:
    assert redact_command(["run", "--token", "s3cr3tp4ss", "--limit", "3"]) == ["run", "--token", "***", "--limit", "3"]
    done = cli("run", "--model", "http://me:s3cr3tp4ss@host/v1", "--data-root", demo, "--out", tmp_path / "r")
    assert done.returncode == 2 and "s3cr3tp4ss" not in done.stderr and "***@host" in done.stderr
    answers = tmp_path / "hf_abcdefghijklmnopqrstuvwx"
    lines = (demo / "data" / "docvqa" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    ids = [str(json.loads(line)["question_id"]) for line in lines]
    answers.write_text("".join(json.dumps({"id": key, "response": "x"}) + "\n" for key in ids))
    out = tmp_path / "run"
    done = cli("run", "--model", f"replay:{answers}", "--tasks", "docvqa_test", "--data-root", demo, "--out", out)
    assert done.returncode == 0, done.stderr
    for file in out.rglob("*"):
        if file.is_file():
            assert not any(secret in file.read_text(encoding="utf-8") for secret in SECRETS), file


# What JSON readers stumble over, and any bytes at all.
HOSTILE = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"[" * 100_000, b"9" * 10_000, b'{"a":' * 50_000, b'{"id": 1e999}', b'"\\ud800"', b"\0", b"NaN"]),
)


def _drained(read: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: list(read(path))  # type: ignore[call-overload]  # all of these are iterable


READERS: dict[str, Callable[[Path], object]] = {
    "jsonl": _drained(lambda path: read_jsonl(path, "shown")),
    "json": _drained(lambda path: read_records(path, "shown")),
    "tsv": _drained(lambda path: read_tsv(path, "shown")),
    "predictions": read_predictions,
    "foreign": lambda path: read_predictions(path, {"1"}, foreign=True),
    "shards": lambda path: read_shards(path.parent),
    "card": lambda path: load_card(str(path)),
    "config": lambda path: read_config(path.parent),
}
NAMES = {"card": "card.yaml", "config": "config.json"}


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(HOSTILE, min_size=1, max_size=3), separator=st.sampled_from([b"\n", b"\t", b"\r\n", b""]))
def test_any_content_is_read_or_refused_with_its_file(
    reader: str, parts: list[bytes], separator: bytes, tmp_path: Path
) -> None:
    path = tmp_path / NAMES.get(reader, "file.jsonl")
    path.write_bytes(separator.join(parts) + os.linesep.encode())
    try:
        READERS[reader](path)
    except EvalkitError as error:
        lines = str(error).split("\n")
        assert all(str(path) in line for line in lines)
        assert len(lines) == 1 or reader == "card", "a card lists all its problems"
