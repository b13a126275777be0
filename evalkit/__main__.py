"""``python -m evalkit``, which is also how torchrun starts it."""

from evalkit.cli import entry

if __name__ == "__main__":
    entry()
