"""`python -m mushu.cli` is `mushu`."""

from mushu.cli.main import main

if __name__ == "__main__":
    main()
