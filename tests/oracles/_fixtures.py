"""The command line of every oracle: write its fixtures, or check the committed ones."""

import argparse
import filecmp
import pathlib
import sys
import tempfile


def run(script, make):
    """`make(folder)` writes the fixtures of the oracle `script` (its `__file__`) into `folder`."""
    script = pathlib.Path(script).resolve()
    parser = argparse.ArgumentParser(description="Makes or checks the fixtures of this oracle.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="compare the committed fixtures, byte by byte")
    mode.add_argument("--out", type=pathlib.Path, metavar="FOLDER", help="write the fixtures to FOLDER")
    args = parser.parse_args()
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        make(args.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make(folder)
        names = sorted(path.name for path in folder.iterdir())
        differing = [name for name in names if not same(folder / name, script.parent / name)]
    if not names:
        sys.exit(f"{script.name} made no fixture")
    if differing:
        sys.exit(f"{script.name} no longer makes the committed {', '.join(differing)}")
    print(f"{script.name}: {', '.join(names)} as committed")


def same(made, committed):
    return committed.is_file() and filecmp.cmp(made, committed, shallow=False)
