"""The status page, and what somebody who helps from afar asks for: the commands serve and support."""

import argparse
import sys
from collections.abc import Callable

from edge_runtime.cli import new_path
from edge_runtime.commands.place import add_option


def add_options(names: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register both."""
    page = names.add_parser("serve", help="the status page of what listens", allow_abbrev=False)
    add_option(page)
    page.add_argument("--host", default="127.0.0.1", help="the address to be reached at; 0.0.0.0: each (127.0.0.1)")
    page.add_argument("--port", type=_port, default=8321, help="0: any that is free (8321)")
    page.add_argument("--token-file", metavar="F", help="where the token lies, or is put (STATE/page.token)")
    page.add_argument("--allow-host", nargs="+", default=[], metavar="NAME", help="names that lead here, as a proxy's")
    dump = names.add_parser("support", help="pack what helps to help, without secrets", allow_abbrev=False)
    add_option(dump)
    dump.add_argument("--out", required=True, metavar="F.zip", help="a new file")


def serve(options: argparse.Namespace) -> int:
    """Serve until told to end."""
    from edge_runtime.web import place, server

    return server.serve(place.found(options.place), options.host, options.port, options.token_file, options.allow_host)


def support(options: argparse.Namespace) -> int:
    """Pack, and say what."""
    from edge_runtime.web import place, support

    found, out = place.found(options.place), new_path(options.out)
    packed = support.dump(found)
    out.write_bytes(packed)
    print(f"{out}: {len(packed)} bytes, without sound and secrets; look through it before you send it", file=sys.stderr)
    return 0


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"{text}: wanted 0 to 65535")
    return value


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"serve": serve, "support": support}
