"""Which code this is, for what others will ask "how was it made?" of: run folders and bundles."""

import subprocess
from pathlib import Path


def commit() -> str:
    """Hash of the checkout that this code is, with "-dirty" where it was changed; "" outside a checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
