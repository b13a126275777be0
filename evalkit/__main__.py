"""``python -m evalkit``, which is also how torchrun starts it."""

from evalkit.cli.main import entry

if __name__ == "__main__":
    entry()
