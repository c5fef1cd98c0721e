"""`python -m pybroker_server` is the command `pybroker`."""

from pybroker_server.cli.main import main

if __name__ == "__main__":
    main()
