#!/usr/bin/env python3
"""Checks every relative link and anchor in the repository's Markdown files. Needs git and Python only."""

import pathlib
import re
import subprocess
import sys
import urllib.parse

FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$", re.MULTILINE)
NAMED = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")


def blank(match):
    """Keeps line numbers while hiding code, where brackets are not links."""
    return re.sub(r"[^\n]", " ", match.group(0))


def anchors(text):
    """The anchors of a page, as its headings become them on code hosting sites."""
    found = set(NAMED.findall(text))
    seen = {}
    for heading in HEADING.findall(FENCE.sub(blank, text)):
        heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(slug if count == 0 else f"{slug}-{count}")
    return found


def problems_in(page, root):
    text = page.read_text(encoding="utf-8")
    prose = CODE.sub(blank, FENCE.sub(blank, text))
    for match in [*LINK.finditer(prose), *REFERENCE.finditer(prose)]:
        target = match.group(1)
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue  # other sites are not visited
        line = prose.count("\n", 0, match.start()) + 1
        path, _, anchor = target.partition("#")
        where = (page.parent / urllib.parse.unquote(path)).resolve() if path else page.resolve()
        if not where.is_relative_to(root):
            yield line, f"{target} leads out of the repository"
        elif not where.exists():
            yield line, f"{target} does not exist"
        elif anchor and where.suffix == ".md":
            if urllib.parse.unquote(anchor).lower() not in anchors(where.read_text(encoding="utf-8")):
                yield line, f"{target}: no such heading"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=root, check=True, capture_output=True, text=True,
    )
    pages = [root / name for name in listing.stdout.split("\0") if name]
    count = 0
    for page in sorted(page for page in pages if page.exists()):
        for line, what in problems_in(page, root):
            count += 1
            print(f"{page.relative_to(root)}:{line}: {what}")
    print(f"{len(pages)} documents, {count} broken links")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
