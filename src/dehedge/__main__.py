"""``python -m dehedge``."""

from dehedge.cli import main

if __name__ == "__main__":
    main()
