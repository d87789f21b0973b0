"""`python -m unclasp`."""

from unclasp.cli import main

if __name__ == "__main__":
    main()
