#!/bin/sh
# Prints the state of the work tree: files that git sees as changed or new, with their contents.
# Prints nothing outside a git checkout.
set -eu

git rev-parse --is-inside-work-tree >/dev/null 2>&1 || exit 0
git status --porcelain --untracked-files=all
git diff
git ls-files --others --exclude-standard -z | xargs -0 -r git hash-object --
