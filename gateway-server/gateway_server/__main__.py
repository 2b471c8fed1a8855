"""`python -m gateway_server` is the same as `gateway-server`."""

import sys

from gateway_server.cli import main

sys.exit(main())
