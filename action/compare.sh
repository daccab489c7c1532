#!/usr/bin/env bash
# Records $MODEL at the commit $BASE and as it is here, and writes what changed: $RUNNER_TEMP/architecture/changed.md, the
# summary of the job, and the output `changed`.
set -euo pipefail

out="$RUNNER_TEMP/architecture"
base="$out/base"
here="$PWD"
rm -rf "$out"
mkdir -p "$out"
git cat-file -e "$BASE^{commit}" 2>/dev/null || git fetch --quiet --depth=1 origin "$BASE"
git worktree prune
git worktree add --quiet --detach "$base" "$BASE"
trap 'cd "$here" && git worktree remove --force "$base"' EXIT
read -r -a arguments <<<"$ARGUMENTS"

record() { # in which tree, into which file; modules of the tree come before what is installed
  (cd "$1/$SOURCE" && PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" recorder record "$MODEL" ${arguments[@]+"${arguments[@]}"} -o "$2")
}

record "$here" "$out/head.arch"
if record "$base" "$out/base.arch" 2>"$out/base.log"; then
  status=0
  recorder diff "$out/base.arch" "$out/head.arch" -o "$out/changed.md" --exit-code || status=$?
  [ "$status" -le 1 ] || exit "$status"
  changed=$([ "$status" = 1 ] && echo true || echo false)
else
  cat "$out/base.log" >&2
  echo "The model could not be recorded at the base, so there is nothing to compare with." >"$out/changed.md"
  changed=true
fi
cat "$out/changed.md" >>"$GITHUB_STEP_SUMMARY"
echo "changed=$changed" >>"$GITHUB_OUTPUT"
