"""`python -m profile_pipelines.cli`."""

import sys

from profile_pipelines.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
