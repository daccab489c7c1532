#!/usr/bin/env bash
# Posts what compare.sh wrote on the pull request $NUMBER, or renews the comment that an earlier run has posted for $MODEL.
set -euo pipefail

out="$RUNNER_TEMP/architecture"
mark="<!-- graph-recorder: $(printf '%s' "$MODEL" | tr -cd '[:alnum:]_.:/') -->"
{
  printf '%s\n### What changed in `%s`\n\n' "$mark" "$(printf '%s' "$MODEL" | tr -d '`\n')"
  cat "$out/changed.md"
} >"$out/comment.md"
found=$(MARK="$mark" gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$NUMBER/comments" \
  --jq '.[] | select(.body | startswith(env.MARK)) | .id' | head -n 1) || found=""
if [ -n "$found" ]; then
  told=(--method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$found")
else
  told=(--method POST "repos/$GITHUB_REPOSITORY/issues/$NUMBER/comments")
fi
gh api "${told[@]}" --field body=@"$out/comment.md" --silent ||
  echo "::notice::the comment was not posted: the token may not write here; the summary of the job has what changed"
