"""`python -m codehearth` is `hearth`."""

from codehearth.cli import main

if __name__ == "__main__":
    main()
