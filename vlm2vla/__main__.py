"""`python -m vlm2vla <command>`."""

from vlm2vla.cli import main

if __name__ == "__main__":
    main()
