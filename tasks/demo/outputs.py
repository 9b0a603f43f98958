"""Tool output for the demo threads: colored terminal output and long generated logs."""

import random
import re
from collections.abc import Iterator

BOLD, RED, GREEN, CYAN = "1", "31", "32", "36"

# For each program, the patterns to color and their terminal color codes, applied in order.
COLORS: dict[str, list[tuple[str, str]]] = {
    "pytest": [
        (r"^E .*", f"{RED};{BOLD}"),
        (r"^=+ .* =+$", BOLD),
        (r"^\.+", GREEN),
        (r"\b\d+ passed", GREEN),
        (r"\b\d+ failed", f"{RED};{BOLD}"),
    ],
    "diff": [
        (r"^(?:diff|index|---|\+\+\+) .*", BOLD),
        (r"^@@ .* @@", CYAN),
        (r"^\+.*", GREEN),
        (r"^-.*", RED),
    ],
    "ls": [
        (r"(?<= )[a-z]+$", "01;34"),
        (r"(?<= )\S+\.(?:gz|iso)$", "01;31"),
    ],
}

_MODULES = ("core", "net", "store", "render", "query", "auth", "codec", "sched", "cache", "index")
_PARTS = ("buffer", "parser", "writer", "router", "pool", "journal", "planner", "cursor", "filter")
_AREAS = ("account", "address", "basket", "coupon", "delivery", "invoice")
_MORE_AREAS = ("payment", "product", "refund", "review", "stock", "voucher")
_ACTIONS = ("create", "update", "cancel", "list", "export")

HANDLERS = [f"{area}_{action}" for area in _AREAS + _MORE_AREAS for action in _ACTIONS]


def colored(text: str, program: str) -> str:
    """Color a program's output the way the program would in a terminal."""
    for pattern, codes in COLORS[program]:
        text = re.sub(pattern, f"\x1b[{codes}m\\g<0>\x1b[0m", text, flags=re.MULTILINE)
    return text


def build_log() -> str:
    """Return the log of a large C++ build: about 300 KB, with a few warnings."""
    rng = random.Random(4)  # noqa: S311 - not used for secrets
    lines = ["-- Build files have been written to: /build/release"]
    for number in range(1, 3196):
        lines += _compile_lines(rng, number)
    lines += [
        "[3196/3197] Linking CXX executable bin/shopd",
        "[3197/3197] Running unit tests: 1,204 passed in 41.7 s",
        "",
        "real\t13m52.318s\nuser\t61m07.442s\nsys\t4m19.905s",
    ]
    return "\n".join(lines)


def _compile_lines(rng: random.Random, number: int) -> Iterator[str]:
    module, unit = rng.choice(_MODULES), f"{rng.choice(_PARTS)}_{number:04d}.cc"
    target = f"src/{module}/CMakeFiles/{module}.dir/{unit}.o"
    yield f"[{number}/3197] Building CXX object {target} (in {rng.uniform(0.1, 1.8):.1f} s)"
    if number % 47 == 0:
        line = rng.randint(20, 400)
        yield f"src/{module}/{unit}:{line}:23: warning: signs differ [-Wsign-compare]"
        yield f"{line:5d} |     for (int i = 0; i < rows.size(); ++i) {{"
        yield "      |                     ~ ^ ~~~~~~~~~~~"


def progress_bar() -> str:
    """Return the output of a progress bar that redraws itself with carriage returns."""
    frames = []
    for percent in range(0, 101, 4):
        bar = ("#" * (percent // 4)).ljust(25, ".")
        frames.append(f"[{bar}] {percent:3d} %  {percent * 1.83:6.1f} / 183.0 GiB")
    return "restoring snapshot 7c41e0aa\n" + "\r".join(frames) + "\nrestored 41,207 files, 0 errors"


def access_log() -> str:
    """Return a web server log in which one address keeps trying to sign in."""
    rng = random.Random(9)  # noqa: S311 - not used for secrets
    return "\n".join(_request(rng) for _ in range(400))


def _request(rng: random.Random) -> str:
    clock = f"04:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}"
    if rng.random() < 0.8:
        return f'203.0.113.77 - - [{clock}] "POST /login HTTP/2.0" 401 {rng.randint(180, 190)}'
    page = rng.choice(("/", "/basket", "/products/417", "/search?q=lamp", "/static/site.css"))
    return f'198.51.100.{rng.randint(2, 250)} - - [{clock}] "GET {page} HTTP/2.0" 200 5120'


GENERATED = {function.__name__: function for function in (build_log, progress_bar, access_log)}
