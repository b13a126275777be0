"""Files beside the videos: subtitles by pysubs2's rules, and pickles of videos, neither of which may do any harm."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evalkit.data.video_pickles import unpack_videos
from evalkit.errors import UsageError
from evalkit.media.subtitles import subtitles_at
from tests.conftest import REPO, Cli

FPS = 25.0


def srt(path: Path, *entries: tuple[str, str, str]) -> Path:
    text = (f"{number}\n{start} --> {end}\n{line}\n" for number, (start, end, line) in enumerate(entries, start=1))
    path.write_text("\n".join(text), encoding="utf-8")
    return path


def shown(path: Path, *seconds: float) -> list[str]:
    return subtitles_at(path, tuple(round(second * FPS) for second in seconds), FPS).split("\n")


def test_a_line_shows_between_its_ends_only(tmp_path: Path) -> None:
    path = srt(tmp_path / "a.srt", ("00:00:01,000", "00:00:02,000", "one"), ("00:00:02,000", "00:00:03,000", "two"))
    assert shown(path, 0.96, 1, 1.04, 1.96, 2, 2.04, 3) == ["one", "one", "two"]


def test_the_time_of_a_frame_is_rounded_to_milliseconds(tmp_path: Path) -> None:
    path = srt(tmp_path / "a.srt", ("00:00:00,033", "00:00:00,035", "now"))
    assert subtitles_at(path, (1,), 29.5) == "now"  # 33.898 ms -> 34
    assert subtitles_at(path, (1,), 30.0) == ""  # 33.333 ms -> 33


def test_the_first_line_of_the_file_wins_also_if_it_is_blank(tmp_path: Path) -> None:
    blank, late = ("00:00:04,000", "00:00:05,000", " "), ("00:00:03,000", "00:00:09,000", "late")
    path = srt(tmp_path / "a.srt", blank, late, ("00:00:00,000", "00:00:09,000", "long"))
    assert shown(path, 1, 2, 3.04, 4.04, 6) == ["long", "long", "late", "late"]


def test_markup_becomes_what_pysubs2_makes_of_it(tmp_path: Path) -> None:
    line = '  <font color="white" size=".72c">a <i>b</i></font>\n<u>c</u> &amp; <b>d</b>  '
    path = srt(tmp_path / "a.srt", ("00:00:00,000", "00:00:02,000", line))
    assert shown(path, 1) == [r"a {\i1}b{\i0} {\u1}c{\u0} &amp; {\b1}d{\b0}"]


def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    path = srt(tmp_path / "a.srt", ("00:00:00,000", "00:00:02,000", "one\ntwo"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert shown(path, 1) == ["one two"]


def test_no_file_and_no_frame_rate_mean_no_subtitles(tmp_path: Path) -> None:
    assert subtitles_at(tmp_path / "none.srt", (1, 2), FPS) == ""
    path = srt(tmp_path / "a.srt", ("00:00:00,000", "00:00:02,000", "one"))
    assert subtitles_at(path, (1, 2), 0.0) == ""


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    for line in ("one", "three"):
        assert shown(srt(path, ("00:00:00,000", "00:00:02,000", line)), 1) == [line]


HOSTILE = {
    "empty": b"",
    "text": b"nothing of the kind\n",
    "web": b"WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nx\n",
    "script": b"[Script Info]\n[V4+ Styles]\n[Events]\nDialogue: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,x\n",
    "xml": b'<?xml version="1.0"?><!DOCTYPE t [<!ENTITY a "aa">]><tt xmlns="http://www.w3.org/ns/ttml">&a;</tt>',
    "latin": b"1\n00:00:00,000 --> 00:00:02,000\ncaf\xe9\n",
    "zeros": bytes(5000),
    "video": b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 20,
    "tags": b"1\n00:00:00,000 --> 00:00:02,000\n" + b"<a" * 1_000_000,
    "breaks": b"1\n00:00:00,000 --> 00:00:02,000\nx" + b"\n" * 1_000_000 + b"y",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_srt_is_one_line_and_quick(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(HOSTILE[kind])
    started = time.process_time()
    with pytest.raises(UsageError, match=r"a\.srt: not a file of subtitles \(srt\): ") as raised:
        subtitles_at(path, (1,), FPS)
    assert "\n" not in str(raised.value) and time.process_time() - started < 5


def test_a_folder_or_a_pipe_in_place_of_subtitles_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.srt")
    (tmp_path / "folder.srt").mkdir()
    for name in ("pipe.srt", "folder.srt"):
        with pytest.raises(UsageError, match="not a file with subtitles"):
            subtitles_at(tmp_path / name, (1,), FPS)


@pytest.mark.shared_data
def test_the_command_line_names_the_broken_file(tmp_path: Path, cli: Cli, shared: Path) -> None:
    source = shared / "golden_vk" / "prompts_root" / "data" / "LMUData" / "Video-MME"
    folder = tmp_path / "data" / "LMUData" / "Video-MME"
    (folder / "subtitle").mkdir(parents=True)
    (folder / "video").symlink_to(source / "video")
    (folder / "Video-MME.tsv").symlink_to(source / "Video-MME.tsv")
    (folder / "subtitle" / "bikes.srt").write_text("no subtitles")
    done = cli("show", "videomme_w_subs", "--data-root", tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "bikes.srt: not a file of subtitles (srt): No suitable formats" in done.stderr


# Pickles

VIDEOS = {f"-v{number}_x y": bytes([number % 256]) * (number + 1) for number in range(2100)}


def write_pickle(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_videos_are_written_once(protocol: int, tmp_path: Path) -> None:
    path, folder = write_pickle(tmp_path / "a.pkl", VIDEOS, protocol), tmp_path / "video"
    assert unpack_videos(path, folder) == (2100, 0)
    assert {file.stem: file.read_bytes() for file in folder.iterdir()} == VIDEOS
    (folder / "-v7_x y.mp4").unlink()
    (folder / "-v8_x y.mp4").write_bytes(b"cut")
    assert unpack_videos(path, folder) == (2, 2098)
    assert (folder / "-v8_x y.mp4").read_bytes() == VIDEOS["-v8_x y"]


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def hostile_pickles(flag: Path) -> dict[str, bytes]:
    command = f"touch {flag}"
    return {
        "value": pickle.dumps({"a": b"x", "b": Evil(command)}),
        "key": pickle.dumps({Evil(command): b"x"}),
        "whole": pickle.dumps(Evil(command)),
        "text protocol": f"cos\nsystem\n(S'{command}'\ntR.".encode(),
        "old bytes": pickle.dumps({"a": b"x"}, 2),
        "persistent id": b"\x80\x04}X\x01\x00\x00\x00aPid\ns.",
        "extension": b"\x80\x04}X\x01\x00\x00\x00a\x82\x01s.",
        "buffer": b"\x80\x05}X\x01\x00\x00\x00a\x97s.",
        "nested": pickle.dumps({"a": {"b": b"x"}}),
        "texts": pickle.dumps({"a": "x"}),
        "numbers": pickle.dumps({1: b"x"}),
        "list": pickle.dumps([b"x"]),
        "repeated": pickle.dumps(dict.fromkeys(("a", "b", "c"), b"x" * 300)),
        "memo": b"\x80\x04}X\x01\x00\x00\x00aj\xff\xff\xff\x7fs.",
        "a long claim": b"\x80\x04}X\x01\x00\x00\x00a\x8e" + struct.pack("<Q", 1 << 62) + b"x",
        "a long name": b"\x80\x04}X\xff\xff\xff\x7fa",
        "a long number": b"\x80\x04}\x8b\xff\xff\xff\x7f1",
        "a long line": b"\x80\x04}I" + b"9" * 1_000_000,
        "cut": pickle.dumps({"a": b"x" * 1000})[:-300],
        "not ended": pickle.dumps({"a": b"x"})[:-1],
        "empty": b"",
        "a pointer to a file": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        **{
            f"name {name!r}": pickle.dumps({name: b"x"})
            for name in ("../up", "/etc/x", "a/b", "a\\b", "..", ".hidden", "", "a\0b", "a\nb", "x" * 300, "\udc80")
        },
    }


@pytest.mark.parametrize("kind", hostile_pickles(Path()))
def test_a_hostile_pickle_is_one_line_and_runs_nothing(kind: str, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    path = tmp_path / "a.pkl"
    path.write_bytes(hostile_pickles(flag)[kind])
    with pytest.raises(UsageError, match=r"a\.pkl: cannot be unpacked: ") as raised:
        unpack_videos(path, tmp_path / "out" / "video")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    assert not flag.exists()
    written = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert written - {"a.pkl"} <= {"out/video/a.mp4"}


def test_the_hostile_pickles_would_run_if_they_were_loaded(tmp_path: Path) -> None:
    for kind in ("value", "key", "whole", "text protocol"):
        flag = tmp_path / kind.replace(" ", "-")
        pickle.loads(hostile_pickles(flag)[kind])
        assert flag.exists()


def test_the_script_unpacks_what_the_hub_holds(tmp_path: Path) -> None:
    script = [sys.executable, str(REPO / "scripts" / "unpack_mmbench_video.py"), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 3 and done.stderr.startswith("no pickles (*.pkl) in ")
    folder = tmp_path / "data" / "LMUData" / "MMBench-Video"
    (folder / "video_pkl").mkdir(parents=True)
    write_pickle(folder / "video_pkl" / "video_chunk_0.pkl", {"a": b"1", "b": b"22"})
    write_pickle(folder / "video_pkl" / "video_chunk_1.pkl", {"c": b"333"})
    done = subprocess.run(script, capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (folder / "video").iterdir()) == ["a.mp4", "b.mp4", "c.mp4"]
    write_pickle(folder / "video_pkl" / "video_chunk_2.pkl", Evil("false"))
    done = subprocess.run(script, capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "video_chunk_1.pkl: 0 videos written, 1 there already" in done.stderr
