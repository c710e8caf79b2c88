#!/usr/bin/env bash
# redis-cli, which is hiredis, with the protocol that is named on the command line.
. "$(dirname "$0")/features.sh"
protocol=$1
about="$(redis-cli --version) RESP$protocol"
at=(-h "$REDIS_HOST" -p "$REDIS_PORT" --no-auth-warning)
[ "$protocol" = 2 ] || at+=("-$protocol") # 2 is what it speaks by itself

cli() { redis-cli "${at[@]}" "$@"; }

connect() {
	same "$(cli PING)" PONG
	same "$(cli --user default --pass "$REDIS_PASSWORD" PING)" PONG
	has "$(cli -a wrong PING 2>&1)" WRONGPASS
	same "$(cli -u "redis://default:$REDIS_PASSWORD@$REDIS_HOST:$REDIS_PORT/1" PING)" PONG
	has "$(printf 'CLIENT SETNAME cli\nCLIENT GETNAME\n' | cli)" cli
}

one_shot() {
	same "$(cli SET "${tag}s" value)" OK
	same "$(cli GET "${tag}s")" value
	same "$(cli -r 5 INCR "$(cli DEL "${tag}n" >/dev/null; echo "${tag}n")" | tail -n 1)" 5
	same "$(printf 'from a pipe' | cli -x SET "${tag}s")" OK
	same "$(cli --raw GET "${tag}s")" 'from a pipe'
	same "$(cli --csv MGET "${tag}s" "${tag}none")" '"from a pipe",NULL'
	has "$(cli --json HELLO 3)" '"proto":3'
}

data_types() {
	cli DEL "${tag}h" "${tag}l" "${tag}set" "${tag}z" "${tag}x" "${tag}g" "${tag}hll" "${tag}b" >/dev/null
	same "$(cli HSET "${tag}h" a 1 b 2)" 2
	same "$(cli HGETALL "${tag}h" | tr '\n' ' ')" 'a 1 b 2 '
	same "$(cli RPUSH "${tag}l" 3 1 2)" 3
	same "$(cli SORT "${tag}l" | tr '\n' ' ')" '1 2 3 '
	same "$(cli SADD "${tag}set" x y)" 2
	same "$(cli ZADD "${tag}z" 1.5 m)" 1
	same "$(cli ZSCORE "${tag}z" m)" 1.5
	same "$(cli XADD "${tag}x" 1-1 f v)" 1-1
	has "$(cli XRANGE "${tag}x" - +)" 1-1
	same "$(cli GEOADD "${tag}g" 13.361389 38.115556 Palermo)" 1
	same "$(cli PFADD "${tag}hll" a b)" 1
	same "$(cli SETBIT "${tag}b" 7 1)" 0
	same "$(cli EXPIRE "${tag}b" 100)" 1
	has "$(cli DEBUG NOSUCH 2>&1; cli LPUSH "${tag}h" 1 2>&1)" WRONGTYPE
}

keys_of_all_groups() {
	local keys pairs
	keys=$(seq -f "${spread}many:%g" 64)
	pairs=$(for k in $keys; do printf '%s value ' "$k"; done)
	# shellcheck disable=SC2086 # words are meant
	same "$(cli MSET $pairs)" OK
	# shellcheck disable=SC2086
	same "$(cli MGET $keys | sort | uniq -c | tr -s ' ')" ' 64 value'
	# shellcheck disable=SC2086
	same "$(cli DEL $keys)" 64
}

pipeline() {
	seq -f "SET ${spread}pipe:%g value" 1000 | cli >"$dir/replies"
	same "$(sort "$dir/replies" | uniq -c | tr -s ' ')" ' 1000 OK'
}

mass_insertion() {
	local i k
	for i in $(seq 1000); do
		k="${spread}mass:$i"
		printf '*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nv\r\n' "${#k}" "$k"
	done >"$dir/mass"
	has "$(cli --pipe <"$dir/mass")" 'errors: 0, replies: 1000'
}

transaction() {
	same "$(printf 'DEL %st\nMULTI\nINCR %st\nINCR %st\nEXEC\n' "$tag" "$tag" "$tag" | cli | tail -n 2 | tr '\n' ' ')" '1 2 '
	same "$(printf 'MULTI\nSET %st never\nDISCARD\nGET %st\n' "$tag" "$tag" | cli | tail -n 1)" 2
	has "$(printf 'MULTI\nSET %st\nEXEC\n' "$tag" | cli 2>&1)" EXECABORT
	same "$(printf 'WATCH %st\nMULTI\nINCR %st\nEXEC\n' "$tag" "$tag" | cli | tail -n 1)" 3
	same "$(printf 'MULTI\nEXEC\nPING\n' | cli | tail -n 1)" PONG
}

pub_sub() {
	redis-cli "${at[@]}" SUBSCRIBE "${spread}one" "${spread}two" >"$dir/subscriber" 2>&1 &
	redis-cli "${at[@]}" PSUBSCRIBE "${spread}p*" >"$dir/patterns" 2>&1 &
	until_has "$dir/subscriber" "${spread}two"
	until_has "$dir/patterns" "${spread}p*"
	same "$(cli PUBLISH "${spread}one" first)" 1
	same "$(cli PUBLISH "${spread}pattern" second)" 1
	same "$(cli PUBLISH "${spread}nobody" lost)" 0
	until_has "$dir/subscriber" first
	until_has "$dir/patterns" second
	same "$(cli PUBSUB NUMSUB "${spread}two" | tr '\n' ' ')" "${spread}two 1 "
	kill %1 %2
}

scripts() {
	printf 'return {KEYS[1], ARGV[1], redis.call("INCR", KEYS[1])} -- %s' "$$" >"$dir/script.lua"
	cli DEL "${tag}script" >/dev/null
	same "$(cli --eval "$dir/script.lua" "${tag}script" , x | tr '\n' ' ')" "${tag}script x 1 "
	sha=$(cli SCRIPT LOAD "$(cat "$dir/script.lua")")
	same "$(cli EVALSHA "$sha" 1 "${tag}script" y | tail -n 1)" 2
	same "$(cli SCRIPT EXISTS "$sha" 0000000000000000000000000000000000000000 | tr '\n' ' ')" '1 0 '
	has "$(cli EVALSHA 0000000000000000000000000000000000000000 1 "${tag}script" 2>&1)" NOSCRIPT
}

functions() {
	local name="cli_$$_$protocol"
	printf '#!lua name=%s\nredis.register_function("%s_f", function(keys, args) return args[1] end)' "$name" "$name" >"$dir/library.lua"
	same "$(cli -x FUNCTION LOAD <"$dir/library.lua")" "$name"
	same "$(cli FCALL "${name}_f" 1 "${tag}f" hello)" hello
	same "$(cli FUNCTION DELETE "$name")" OK
}

blocking() {
	cli DEL "${tag}queue" >/dev/null
	redis-cli "${at[@]}" BLPOP "${tag}queue" 30 >"$dir/popped" &
	same "$(cli RPUSH "${tag}queue" job)" 1
	wait %1
	same "$(tail -n 1 "$dir/popped")" job
	same "$(cli BRPOP "${tag}queue" 0.01)" ''
	cli DEL "${tag}feed" >/dev/null
	redis-cli "${at[@]}" XREAD BLOCK 30000 STREAMS "${tag}feed" 0 >"$dir/read" &
	same "$(cli XADD "${tag}feed" 5-1 f v)" 5-1
	wait %%
	has "$(cat "$dir/read")" 5-1
}

scan() {
	local many
	seq -f "SET ${spread}scan:%g value" 300 | cli >/dev/null
	many=$(cli --scan --pattern "${spread}scan:*" | sort -u)
	same "$(printf '%s\n' "$many" | wc -l)" 300
	has "$(cli --scan --pattern "${spread}scan:1" | sort -u)" "${spread}scan:1"
}

survey() {
	cli -n 3 RPUSH "${tag}big" 1 2 3 >/dev/null
	has "$(cli -n 3 --bigkeys)" "${tag}big"
	has "$(cli -n 3 --memkeys)" "${tag}big"
	same "$(cli -n 3 UNLINK "${tag}big")" 1
}

database() {
	cli SET "${tag}db" zero >/dev/null
	same "$(cli -n 1 SET "${tag}db" one)" OK
	same "$(cli GET "${tag}db")" zero
	same "$(printf 'SELECT 1\nGET %sdb\nDEL %sdb\n' "$tag" "$tag" | cli | tr '\n' ' ')" 'OK one 1 '
	has "$(cli SELECT 16 2>&1)" 'DB index is out of range'
}

server_commands() {
	has "$(cli INFO)" redis_version:
	has "$(cli INFO server)" redis_version:
	has "$(cli CLIENT LIST)" id=
	[ "$(cli DBSIZE)" -gt 0 ] || die 'DBSIZE is 0'
	[ "$(cli COMMAND COUNT)" -gt 200 ] || die 'few commands'
	same "$(cli ECHO hello)" hello
	same "$(cli TIME | wc -l)" 2
	same "$(cli WAIT 0 10)" 0
	has "$(cli COMMAND DOCS get)" summary
}

monitor() {
	redis-cli "${at[@]}" MONITOR >"$dir/monitor" 2>&1 &
	until_has "$dir/monitor" OK
	same "$(cli GET "${tag}monitored")" ''
	until_has "$dir/monitor" "${tag}monitored"
	kill %1
}

run "$0" "$protocol" -- connect one_shot data_types keys_of_all_groups pipeline mass_insertion transaction pub_sub scripts functions \
	blocking scan survey database server_commands monitor
