"""`python -m kn_model`: the same as `kn model`, also where the console script is not on the PATH."""

from kn_model.cli import main

if __name__ == "__main__":
    main()
