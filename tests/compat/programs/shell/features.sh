# What the programs in shell share: a line for each feature, and an end of each. A program sets `about`, defines a function
# for each feature and ends with `run "$0" ARGUMENTS -- FEATURES`. It is run again for each of them, FEATURE in the
# environment, as a process group that ends as a whole.
set -euo pipefail

tag="{$KEYS}:" # begins keys of one group
spread="$KEYS:" # begins keys of any
export REDISCLI_AUTH=$REDIS_PASSWORD

die() {
	printf '%s\n' "$1" >&2
	exit 1
}

same() { [ "$1" = "$2" ] || die "got '${1:0:300}', want '$2'"; }

has() { [[ $1 == *"$2"* ]] || die "got '${1:0:300}', want it with '$2'"; }

# until_has FILE TEXT waits for what programs in the background write, as long as they run.
until_has() {
	until grep -qF -- "$2" "$1"; do
		[ -n "$(jobs -r)" ] || die "no '$2', and nobody left to write it: $(tail -n 1 "$1")"
		sleep 0.01
	done
}

run() {
	local again=() name seconds code
	while [ "$1" != -- ]; do again+=("$1"); shift; done
	shift
	if [ -n "${FEATURE:-}" ]; then
		trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
		"$FEATURE"
		exit 0
	fi
	printf 'client %s\n' "$about"
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	export dir
	seconds=$(awk "BEGIN { print $LIMIT_MS / 1000 }")
	for FEATURE; do
		name=${FEATURE//_/ }
		name=${name/pub sub/pub/sub}
		code=0
		FEATURE=$FEATURE timeout -s KILL "$seconds" bash "${again[@]}" >"$dir/out" 2>&1 </dev/null || code=$?
		case $code in
		0) printf 'ok %s\n' "$name" ;;
		137) printf 'fail %s: no end within %s ms\n' "$name" "$LIMIT_MS" ;;
		*) printf 'fail %s: %s\n' "$name" "$(tail -n 1 "$dir/out" | tr -s '[:space:]' ' ')" ;;
		esac
	done
}
