"""Writes MMBench-Video's videos from the Hub's pickles; videos that are there already are kept.

    python scripts/unpack_mmbench_video.py DATA_ROOT

DATA_ROOT is what ``--data-root`` takes. Reads ``data/LMUData/MMBench-Video/video_pkl/*.pkl`` and writes
``data/LMUData/MMBench-Video/video/<name>.mp4``. No code in a pickle is run, see ``evalkit/data/video_pickles.py``.
"""

from __future__ import annotations

import argparse
import sys

from evalkit.data.root import DataRoot
from evalkit.data.video_pickles import unpack_videos
from evalkit.errors import IncompleteError, UsageError

FOLDER = "data/LMUData/MMBench-Video"


def main() -> int:
    """Unpack all pickles and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", metavar="DATA_ROOT")
    try:
        root = DataRoot(parser.parse_args().data_root)
        source = root.resolve(f"{FOLDER}/video_pkl")
        pickles = sorted(source.glob("*.pkl"))
        if not pickles:
            raise IncompleteError(f"no pickles (*.pkl) in {source}: get the Hub's opencompass/MMBench-Video there")
        for pickle in pickles:
            written, kept = unpack_videos(pickle, root.resolve(f"{FOLDER}/video"))
            print(f"{pickle.name}: {written} videos written, {kept} there already", file=sys.stderr)
    except (UsageError, IncompleteError) as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
