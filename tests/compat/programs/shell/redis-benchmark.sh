#!/usr/bin/env bash
# redis-benchmark: the tests it has, small.
. "$(dirname "$0")/features.sh"
about="$(redis-benchmark --version | awk '{ print $1, $2 }')"

# bench TESTS OPTIONS... has to report on so many tests; on more if a later redis-benchmark has more.
bench() {
	local tests=$1 said
	shift
	redis-benchmark -h "$REDIS_HOST" -p "$REDIS_PORT" -a "$REDIS_PASSWORD" -c 10 -n 500 -q "$@" >"$dir/report" 2>&1 || said=ended
	tr '\r' '\n' <"$dir/report" >"$dir/lines"
	said=${said:-$(grep -a -i -m 1 error "$dir/lines" || true)}
	[ -z "$said" ] || die "$said: $(tail -n 1 "$dir/lines")"
	said=$(grep -c 'requests per second,' "$dir/lines")
	[ "$said" -ge "$tests" ] || die "$said tests were reported on, not $tests"
}

all_tests() { bench 20; }
pipeline() { bench 13 -P 16 -t set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,mset; }
random_keys() { bench 5 -r 100000 -t set,get,mset,hset,zadd; }
RESP3() { bench 4 -3 -t set,get,hset,zpopmin; }
large_values() { bench 2 -d 20000 -t set,get; }
threads() { bench 2 --threads 2 -P 4 -t set,get; }
database() { bench 2 --dbnum 1 -t set,get; }
own_command() { bench 1 -r 1000 eval "return redis.call('SET', KEYS[1], ARGV[1])" 1 "${spread}__rand_int__" value; }

run "$0" -- all_tests pipeline random_keys RESP3 large_values threads database own_command
