"""Known vulnerabilities of the installed libraries, by pip-audit; a note where the network does not allow the check.

    make audit

Asks the Python Packaging Advisory Database, which PyPI serves, for at most `TIMEOUT` seconds. Ends with status 1 only
where a vulnerability is known and a version without it exists.
"""

from __future__ import annotations

import json
import subprocess
import sys

TIMEOUT = 120
COMMAND = ("pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "10")


def findings(report: str) -> tuple[list[str], bool]:
    """Read pip-audit's JSON.

    Returns:
        A line for each vulnerability, and whether any of them is fixed in another version.
    """
    lines, fixable = [], False
    for library in json.loads(report)["dependencies"]:
        for one in library.get("vulns", ()):
            fixed = ", ".join(one["fix_versions"]) or "none yet"
            lines.append(f"{library['name']} {library['version']}: {one['id']}, fixed in {fixed}")
            fixable = fixable or bool(one["fix_versions"])
    return lines, fixable


def main() -> None:
    try:
        done = subprocess.run([sys.executable, "-m", *COMMAND], capture_output=True, text=True, timeout=TIMEOUT)
        lines, fixable = findings(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        print("vulnerabilities were not checked: the advisory database cannot be reached")
        return
    print("\n".join(lines) or "no known vulnerabilities")
    if fixable:
        sys.exit("error: raise the versions above in requirements.txt or tests/requirements.txt")


if __name__ == "__main__":
    main()
