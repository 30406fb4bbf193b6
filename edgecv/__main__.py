"""`python -m edgecv`."""

from edgecv.cli import main

main()
