"""Run the command line with ``python -m tengri_ppl.cli``."""

from tengri_ppl.cli.main import main

main()
