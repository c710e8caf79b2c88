<?php
// phpredis as Debian has it.
declare(strict_types=1);
error_reporting(E_ALL & ~E_DEPRECATED);
set_error_handler(function (int $kind, string $text): bool {
    if (error_reporting() & $kind) {
        throw new ErrorException($text);
    }
    return false;
});

define('TAG', '{' . getenv('KEYS') . '}:'); // keys of one group
define('SPREAD', getenv('KEYS') . ':'); // keys of any
define('LIMIT', (int) getenv('LIMIT_MS') / 1000);

$open = []; // the clients of the feature that is tried
$children = []; // and what runs aside of it

function client(string|array $auth = null): Redis
{
    global $open;
    $r = new Redis();
    $r->connect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'), LIMIT);
    $r->setOption(Redis::OPT_READ_TIMEOUT, LIMIT);
    $r->setOption(Redis::OPT_MAX_RETRIES, 0);
    $r->auth($auth ?? getenv('REDIS_PASSWORD'));
    return $open[] = $r;
}

function same(mixed $got, mixed $want): void
{
    if ($got !== $want) {
        throw new Exception('got ' . var_export($got, true) . ', want ' . var_export($want, true));
    }
}

function fails(Redis $r, mixed $got, string $text): void
{
    same([$got, str_starts_with((string) $r->getLastError(), $text) ? $text : $r->getLastError()], [false, $text]);
    $r->clearLastError();
}

function until(callable $condition): void
{
    for ($end = microtime(true) + LIMIT; !$condition(); usleep(2000)) {
        if (microtime(true) > $end) {
            throw new Exception('no end within ' . LIMIT * 1000 . ' ms');
        }
    }
}

/** Runs the function in a process of its own; what comes back waits for its end. */
function aside(callable $call): callable
{
    global $children;
    $child = pcntl_fork();
    if ($child === 0) {
        try {
            $call();
            posix_kill(posix_getpid(), SIGKILL); // the parent's connections are not the child's to say goodbye to
        } catch (Throwable $e) {
            fwrite(STDERR, $e->getMessage() . "\n");
            posix_kill(posix_getpid(), SIGTERM);
        }
    }
    $children[$child] = true;
    return function () use ($child): void {
        global $children;
        pcntl_waitpid($child, $status);
        unset($children[$child]);
        same(pcntl_wtermsig($status), SIGKILL);
    };
}

/** Subscribing ends when the callback closes the connection. */
function closed(callable $call): void
{
    try {
        $call();
    } catch (RedisException $e) {
        same($e->getMessage(), 'Connection closed');
    }
}

function sorted(array $list): array
{
    sort($list);
    return $list;
}

$features = [
    'connect' => function (Redis $r): void {
        same($r->ping(), true);
        same($r->client('setname', 'phpredis'), true);
        same($r->client('getname'), 'phpredis');
        same(client(['default', getenv('REDIS_PASSWORD')])->ping(), true);
        $wrong = false;
        try {
            client('wrong')->ping();
        } catch (RedisException $e) {
            $wrong = str_contains($e->getMessage(), 'WRONGPASS');
        }
        same($wrong, true);
    },
    'strings' => function (Redis $r): void {
        $k = TAG . 'string';
        $r->del($k);
        same($r->set($k, 'one', ['nx', 'ex' => 100]), true);
        same($r->set($k, 'two', ['nx']), false);
        same($r->append($k, '+two'), 7);
        same($r->getRange($k, 3, -1), '+two');
        same($r->getSet($k, '10'), 'one+two');
        same($r->incrBy($k, 5), 15);
        same($r->incrByFloat($k, 0.5), 15.5);
        same($r->mset([TAG . 'a' => '1', TAG . 'b' => '2']), true);
        same($r->mget([TAG . 'a', TAG . 'none', TAG . 'b']), ['1', false, '2']);
        $binary = str_repeat(implode(array_map('chr', range(0, 255))), 4096);
        same($r->set(TAG . 'binary', $binary), true);
        same($r->get(TAG . 'binary') === $binary, true);
    },
    'keys' => function (Redis $r): void {
        [$a, $b] = [TAG . 'key:a', TAG . 'key:b'];
        $r->del($a, $b);
        $r->set($a, 'value');
        same($r->exists($a, $b), 1);
        same($r->expire($a, 1000), true);
        same($r->ttl($a) > 900, true);
        same($r->type($a), Redis::REDIS_STRING);
        same($r->rename($a, $b), true);
        same($r->restore($a, 0, $r->dump($b)), true);
        same($r->unlink($a, $b), 2);
        $r->rPush($a, '3', '1', '2');
        same($r->sort($a, ['sort' => 'desc']), ['3', '2', '1']);
    },
    'keys of all groups' => function (Redis $r): void {
        $many = array_map(fn (int $i): string => SPREAD . "many:$i", range(0, 63));
        same($r->mset(array_combine($many, range(0, 63))), true);
        same($r->mget($many), array_map('strval', range(0, 63)));
        same($r->exists(...$many), 64);
        same($r->unlink(array_slice($many, 32)), 32);
        same($r->del($many), 32);
    },
    'hashes' => function (Redis $r): void {
        $k = TAG . 'hash';
        $r->del($k);
        same($r->hMSet($k, ['a' => '1', 'b' => 'two']), true);
        same($r->hGetAll($k), ['a' => '1', 'b' => 'two']);
        same($r->hIncrBy($k, 'a', 41), 42);
        same($r->hMGet($k, ['a', 'none']), ['a' => '42', 'none' => false]);
        same($r->hDel($k, 'a'), 1);
    },
    'lists' => function (Redis $r): void {
        $k = TAG . 'list';
        $r->del($k, $k . '2');
        same($r->rPush($k, 'a', 'b', 'c', 'd'), 4);
        same($r->lRange($k, 0, -1), ['a', 'b', 'c', 'd']);
        same($r->rPopLPush($k, $k . '2'), 'd');
        same($r->lPop($k), 'a');
    },
    'sets' => function (Redis $r): void {
        [$a, $b] = [TAG . 'set:a', TAG . 'set:b'];
        $r->del($a, $b);
        same($r->sAdd($a, 'x', 'y', 'z'), 3);
        $r->sAdd($b, 'y', 'z', 'w');
        same(sorted($r->sMembers($a)), ['x', 'y', 'z']);
        same(sorted($r->sInter($a, $b)), ['y', 'z']);
        same($r->sUnionStore(TAG . 'set:u', $a, $b), 4);
    },
    'sorted sets' => function (Redis $r): void {
        $k = TAG . 'zset';
        $r->del($k);
        same($r->zAdd($k, 1, 'a', 2.5, 'b', 9, 'c'), 3);
        same($r->zRange($k, 0, -1, true), ['a' => 1.0, 'b' => 2.5, 'c' => 9.0]);
        same($r->zIncrBy($k, 2, 'a'), 3.0);
        same($r->zRangeByScore($k, '2', '3'), ['b', 'a']);
        same($r->zPopMin($k), ['b' => 2.5]);
    },
    'streams' => function (Redis $r): void {
        $k = TAG . 'stream';
        $r->del($k);
        same($r->xAdd($k, '1-1', ['f' => 'v']), '1-1');
        $r->xAdd($k, '1-2', ['f' => 'w']);
        same($r->xRange($k, '-', '+'), ['1-1' => ['f' => 'v'], '1-2' => ['f' => 'w']]);
        same($r->xGroup('CREATE', $k, 'g', '0'), true);
        same(count($r->xReadGroup('g', 'c', [$k => '>'])[$k]), 2);
        same($r->xAck($k, 'g', ['1-1']), 1);
        same($r->xPending($k, 'g')[0], 1);
    },
    'geo' => function (Redis $r): void {
        $k = TAG . 'geo';
        $r->del($k);
        same($r->geoAdd($k, 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania'), 2);
        same($r->geoDist($k, 'Palermo', 'Catania', 'km'), 166.2742);
        same($r->geoRadius($k, 15, 37, 100, 'km'), ['Catania']);
    },
    'hyperloglog and bitmaps' => function (Redis $r): void {
        $r->del(TAG . 'hll', TAG . 'hll2', TAG . 'bits');
        same((int) $r->pfAdd(TAG . 'hll', ['a', 'b', 'c']), 1);
        $r->pfAdd(TAG . 'hll2', ['c', 'd']);
        same($r->pfCount([TAG . 'hll', TAG . 'hll2']), 4);
        same($r->setBit(TAG . 'bits', 7, true), 0);
        same($r->bitCount(TAG . 'bits'), 1);
    },
    'pipeline' => function (Redis $r): void {
        $p = $r->multi(Redis::PIPELINE);
        $want = [];
        for ($i = 0; $i < 500; $i++) {
            $p->set(SPREAD . "p:$i", (string) $i);
            $p->get(SPREAD . "p:$i");
            array_push($want, true, (string) $i);
        }
        same($p->exec(), $want);
    },
    'transaction' => function (Redis $r): void {
        $r->del(TAG . 't');
        same($r->multi()->incr(TAG . 't')->incr(TAG . 't')->get(TAG . 't')->exec(), [1, 2, '2']);
        same($r->multi()->set(TAG . 't', 'text')->lPush(TAG . 't', '1')->get(TAG . 't')->exec(), [true, false, 'text']);
        $r->multi();
        $r->set(TAG . 't', 'never');
        same($r->discard(), true);
        same($r->get(TAG . 't'), 'text');
    },
    'watch' => function (Redis $r): void {
        $other = client();
        $other->set(TAG . 'w', '1');
        $r->watch(TAG . 'w');
        $other->set(TAG . 'w', '2');
        same($r->multi()->set(TAG . 'w', '3')->exec(), false);
        $r->watch(TAG . 'w');
        same($r->multi()->incr(TAG . 'w')->exec(), [3]);
        $r->watch(TAG . 'w');
        $other->set(TAG . 'w', '4');
        $r->unwatch();
        same($r->multi()->get(TAG . 'w')->exec(), ['4']);
    },
    'pub/sub' => function (Redis $r): void {
        $done = aside(function (): void {
            $publisher = client();
            until(fn (): bool => (int) $publisher->pubsub('numsub', [SPREAD . 'two'])[SPREAD . 'two'] === 1);
            same($publisher->publish(SPREAD . 'one', 'first'), 1);
            same($publisher->publish(SPREAD . 'nobody', 'lost'), 0);
            same($publisher->publish(SPREAD . 'two', 'last'), 1);
            until(fn (): bool => $publisher->publish(SPREAD . 'pattern', 'second') === 1);
        });
        $got = [];
        $note = function (Redis $s, string $channel, string $message) use (&$got): void {
            $got[] = [$channel, $message];
            if (count($got) === 2) {
                $s->close();
            }
        };
        closed(fn () => $r->subscribe([SPREAD . 'one', SPREAD . 'two'], $note));
        same(sorted($got), [[SPREAD . 'one', 'first'], [SPREAD . 'two', 'last']]);
        $patterns = client();
        closed(fn () => $patterns->psubscribe([SPREAD . 'p*'], function (Redis $s, string $pattern, string $channel, string $message): void {
            same([$pattern, $channel, $message], [SPREAD . 'p*', SPREAD . 'pattern', 'second']);
            $s->close();
        }));
        $done();
    },
    'scripts' => function (Redis $r): void {
        $k = TAG . 'script';
        $r->del($k);
        $sha = $r->script('load', "return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])} -- " . mt_rand());
        same($r->script('exists', $sha, str_repeat('0', 40)), [1, 0]);
        same($r->evalSha($sha, [$k, 'x'], 1), [$k, 'x', 1]);
        same($r->eval("return redis.call('GET', KEYS[1])", [$k], 1), '1');
        fails($r, $r->evalSha(str_repeat('1', 40), [$k], 1), 'NOSCRIPT');
        $said = '';
        try {
            $r->eval("return redis.error_reply('MINE of the script')", [$k], 1);
        } catch (RedisException $e) {
            $said = $e->getMessage();
        }
        same($said, 'MINE of the script');
    },
    'functions' => function (Redis $r): void {
        $library = 'php_' . getmypid();
        $code = "#!lua name=$library\nredis.register_function('{$library}_f', function(keys, args) return args[1] end)";
        same($r->rawCommand('FUNCTION', 'LOAD', $code), $library);
        same($r->rawCommand('FCALL', "{$library}_f", '1', TAG . 'f', 'hello'), 'hello');
        same($r->rawCommand('FUNCTION', 'DELETE', $library), true);
    },
    'blocking' => function (Redis $r): void {
        $k = TAG . 'queue';
        $r->del($k, $k . '2', $k . '3', TAG . 'waits');
        $done = aside(function () use ($k): void {
            $other = client();
            until(fn (): bool => $other->get(TAG . 'waits') === '1');
            $other->rPush($k . '2', 'job');
            until(fn (): bool => $other->get(TAG . 'waits') === '2');
            $other->rPush($k, 'moved');
            until(fn (): bool => $other->get(TAG . 'waits') === '3');
            $other->zAdd($k . '3', 1, 'm');
        });
        $r->incr(TAG . 'waits');
        same($r->blPop([$k, $k . '2'], 30), [$k . '2', 'job']);
        $r->incr(TAG . 'waits');
        same($r->bRPopLPush($k, $k . '2', 30), 'moved');
        $r->incr(TAG . 'waits');
        same(array_map('strval', $r->bzPopMin([$k . '3'], 30)), [$k . '3', 'm', '1']);
        $done();
        same($r->rawCommand('BRPOP', $k, '0.01'), []);
        same($r->ping(), true);
    },
    'blocking streams' => function (Redis $r): void {
        $k = TAG . 'feed';
        $r->del($k);
        $done = aside(function () use ($k): void {
            client()->xAdd($k, '5-1', ['f' => 'v']);
        });
        same($r->xRead([$k => '0'], 1, 30000), [$k => ['5-1' => ['f' => 'v']]]);
        $done();
    },
    'scan' => function (Redis $r): void {
        $many = array_map(fn (int $i): string => SPREAD . "scan:$i", range(0, 299));
        $r->mset(array_fill_keys($many, '1'));
        $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
        $seen = [];
        $cursor = null;
        while ($some = $r->scan($cursor, SPREAD . 'scan:*', 50)) {
            $seen = array_merge($seen, $some);
        }
        same(sorted(array_unique($seen)), sorted($many));
        $r->del(TAG . 'h', TAG . 's');
        $r->hMSet(TAG . 'h', array_fill_keys($many, '1'));
        $fields = 0;
        $cursor = null;
        while ($some = $r->hScan(TAG . 'h', $cursor)) {
            $fields += count($some);
        }
        same($fields, 300);
    },
    'database' => function (Redis $r): void {
        $r->set(TAG . 'db', 'zero');
        same($r->select(1), true);
        $r->set(TAG . 'db', 'one');
        same($r->select(0), true);
        same($r->get(TAG . 'db'), 'zero');
        fails($r, $r->select(16), 'ERR DB index is out of range');
    },
    'client commands' => function (Redis $r): void {
        $id = $r->client('id');
        same($r->client('setname', 'renamed'), true);
        $mine = array_values(array_filter($r->client('list'), fn (array $c): bool => (int) $c['id'] === (int) $id));
        same(array_column($mine, 'name'), ['renamed']);
        same($r->echo('hello'), 'hello');
        same(count($r->time()), 2);
        same(isset($r->info()['redis_version']), true);
        same($r->rawCommand('COMMAND', 'COUNT') > 200, true);
    },
    'pool' => function (): void {
        $ids = [];
        for ($i = 0; $i < 3; $i++) {
            $r = new Redis(); // the one before gives its connection back to the pool
            $r->pconnect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'), LIMIT, 'programs');
            $r->setOption(Redis::OPT_MAX_RETRIES, 0);
            $r->auth(getenv('REDIS_PASSWORD'));
            $ids[] = $r->client('id');
            unset($r);
        }
        same(count(array_unique($ids)), 1);
    },
    'errors' => function (Redis $r): void {
        $r->set(TAG . 'text', 'text');
        fails($r, $r->lPush(TAG . 'text', '1'), 'WRONGTYPE');
        fails($r, $r->incr(TAG . 'text'), 'ERR value is not an integer');
        fails($r, $r->rawCommand('NOSUCHCOMMAND'), 'ERR unknown command');
        fails($r, $r->rawCommand('GET'), 'ERR wrong number of arguments');
    },
    'reconnect' => function (Redis $r): void {
        $id = (string) $r->client('id');
        $r->setOption(Redis::OPT_MAX_RETRIES, 10);
        same(client()->rawCommand('CLIENT', 'KILL', 'ID', $id), 1);
        until(fn (): bool => $r->set(TAG . 'again', '1'));
        same($r->get(TAG . 'again'), '1');
    },
];

pcntl_async_signals(true);
pcntl_signal(SIGALRM, function (): void {
    throw new Exception('no end within ' . LIMIT * 1000 . ' ms');
});
echo 'client phpredis ', phpversion('redis'), "\n";
foreach ($features as $name => $feature) {
    pcntl_alarm((int) ceil(LIMIT));
    try {
        $feature(client());
        echo "ok $name\n";
    } catch (Throwable $e) {
        echo "fail $name: ", preg_replace('/\s+/', ' ', $e->getMessage()), "\n";
    }
    pcntl_alarm(0);
    foreach (array_keys($children) as $child) {
        posix_kill($child, SIGKILL);
        pcntl_waitpid($child, $status);
    }
    $children = [];
    foreach ($open as $r) {
        try {
            $r->close();
        } catch (RedisException) {
            continue; // it is closed already
        }
    }
    $open = [];
}
