package compat

import (
	"fmt"
	"strings"
)

// fromEnv takes the place of addresses in a suite.
const fromEnv = `os.Getenv("REDIS_ADDR")`

// suites are all of them, the slowest first. redigo asks for a redis-server of its own and gets the stand-in.
func suites(redisServer string) []suite {
	byAddr := func(port int) run { return run{env: []string{fmt.Sprintf("REDIS_ADDR=127.0.0.1:%d", port)}} }
	rueidisModules := map[string]string{
		"github.com/redis/rueidis": ".", "github.com/redis/rueidis/mock": "mock", "github.com/redis/rueidis/rueidiscompat": "rueidiscompat",
	}
	// Some of its tests know no port but Redis' own.
	goredisEdits := []edit{
		{"main_test.go", `redisStackPort = "6379"`, `redisStackPort = os.Getenv("REDIS_PORT")`},
		{"languages_test.go", `"localhost:6379"`, "apTestAddr()"},
		// Nobody listens at port 1.
		{"redis_test.go", `":1234"`, `"127.0.0.1:1"`},
		{"commands_test.go", `"localhost", "8888"`, `"localhost", "1"`},
		{"main_test.go", `redisSecondaryPort = "6381"`, `redisSecondaryPort = "1"`},
		{"internal_test.go", `(?s)(Describe\("withConn".*?Options\{)`, "${1}Addr: internalTestRedisAddr(), "},
	}
	for _, file := range []string{"autopipeline_fullduplex_test.go", "pipeline_pool_getter_test.go", "pipeline_pool_options_test.go", "pipeline_spill_test.go"} {
		goredisEdits = append(goredisEdits, edit{file, `"(127\.0\.0\.1)?:6379"`, "internalTestRedisAddr()"})
	}
	return []suite{
		{
			name: "rueidiscompat", client: "github.com/redis/rueidis", modules: rueidisModules, pkg: "rueidiscompat",
			edits: []edit{
				{"adapter_test.go", `"127\.0\.0\.1:(6378|7010|6382|6356|6381|7007)"`, fromEnv},
				{"adapter_test.go", `(?m)^(\t\tDisableCache: true,)\n(\t\tAlwaysRESP2: *true,\n)?`, "$1\n\t\tAlwaysRESP2: true,\n"},
				{"adapter_test.go", `import \(`, "import (\n\t\"os\""},
			},
			serves: byAddr, ginkgo: true, groups: []string{oneGroup},
			args: []string{"-test.run=^TestAdapter$", "-ginkgo.skip=GetToBuffer with small buffer"},
			left: []leftOut{
				{"GetToBuffer with small buffer", "they only wait, 10 s each"},
				{"none besides", "tests of modules, clusters and of commands newer than 7.0 fail on the plain server, so that they are not compared"},
			},
		},
		{
			name: "go-redis", client: "github.com/redis/go-redis/v9", modules: map[string]string{"github.com/redis/go-redis/v9": "."}, pkg: ".",
			edits: goredisEdits,
			serves: func(port int) run {
				// RE_CLUSTER is how the suite is told that there is one server and no sentinels, rings and clusters.
				return run{env: []string{fmt.Sprintf("REDIS_PORT=%d", port), "RE_CLUSTER=true", "RCE_DOCKER=false", "REDIS_VERSION=7.0"}}
			},
			ginkgo: true, groups: []string{oneGroup},
			args: []string{"-test.short", "-test.run=^TestGinkgoSuite$", "-ginkgo.skip=^go-redis (" + strings.Join([]string{
				"ClusterClient", "cluster races", "newClusterState", "isLoopback", "Command Tips", "Redis Ring", "Ring", "empty Redis Ring",
				"Sentinel", "NewFailoverClusterClient", "UniversalClient", "TLS", "Credentials Provider", "RediSearch", "FT\\.", "Go-Redis Advanced JSON",
				"JSON Commands", "RedisTimeseries", "TS\\.", "Probabilistic", "Redis VectorSet", "Array Commands", "HIMPORT", "HotKeys",
			}, "|") + ")"},
			left: []leftOut{
				{"ClusterClient, cluster races, newClusterState, isLoopback, Command Tips, Ring, Sentinel, NewFailoverClusterClient, UniversalClient", "they start clusters, rings and sentinels of their own"},
				{"TLS, Credentials Provider", "servers with certificates and users"},
				{"RediSearch, FT, JSON, RedisTimeseries, TS, Probabilistic, VectorSet, Array, HIMPORT, HotKeys", "modules and commands that Redis 7.0 does not have"},
			},
		},
		{
			name: "go-redis, without Ginkgo", client: "github.com/redis/go-redis/v9", modules: map[string]string{"github.com/redis/go-redis/v9": "."}, pkg: ".",
			edits:  goredisEdits,
			serves: func(port int) run { return run{env: []string{fmt.Sprintf("REDIS_PORT=%d", port), "REDIS_VERSION=7.0"}} },
			groups: []string{oneGroup, threeGroups},
			args: []string{"-test.short", "-test.skip=Cluster|GoroutineLeak|Limiter", "-test.run=^Test(" + strings.Join([]string{
				"AP[A-Z]", "Auto[Pp]ipeline", "Async", "BlockingAutoPipeline", "BlockingFace", "CSC(ReadYourWrites|Refresh|Strategy|NonZeroDB)",
				"FullDuplex", "FutureFace", "Languages", "NoPipelinePool", "NoRetryOrder", "OrderedMode", "Pipeline(Conns|Context|Hetero|Pool|WrongType)", "Truth",
			}, "|") + ")"},
			left: []leftOut{{"tests with other names", "they need no server, or those that are left out above"}},
		},
		{
			name: "rueidis", client: "github.com/redis/rueidis", modules: rueidisModules, pkg: ".",
			// A loop of a million requests shows no more than one of 20,000, and takes a minute of both processors.
			edits:  []edit{{"redis_test.go", `"127\.0\.0\.1:6379"`, fromEnv}, {"redis_test.go", `keys\*100\b`, "keys*2"}},
			added:  "respgate_cases_test.go.txt",
			serves: byAddr, groups: []string{oneGroup, threeGroups},
			args: []string{"-test.run=^(TestSingleCases|TestNegative.*|TestUnblockOnCancel.*)$"},
			left: []leftOut{
				{"TestSingleClientIntegration", "its cases are run one by one"},
				{"the integration tests of Sentinel, Cluster, Redis 5, KeyDB, Dragonfly and Kvrocks", "other servers than a single Redis; those of Redis 5 are run with RESP2"},
				{"all else", "it talks to mocks and needs no server"},
			},
		},
		{
			name: "rueidislock", client: "github.com/redis/rueidis", modules: rueidisModules, pkg: "rueidislock",
			edits:  []edit{{"lock_test.go", `"127\.0\.0\.1:6379"`, fromEnv}, {"lock_test.go", `import \(`, "import (\n\t\"os\""}},
			serves: byAddr, groups: []string{oneGroup, threeGroups},
			args: []string{"-test.run=ClientSideCaching|ForceWithContext$|TryWithContext$|Close$|Flush"},
			left: []leftOut{
				{"what waits for clocks only", "it would take minutes"},
				{"TestLocker_WithContext_MissingPeers", "on a busy machine it waits for ever, on a plain server as well"},
			},
		},
		{
			name: "redigo", client: "github.com/gomodule/redigo", modules: map[string]string{"github.com/gomodule/redigo": "."}, pkg: "redis",
			serves: func(port int) run {
				return run{env: []string{standInVar + "=1"}, args: []string{"-redis-server=" + redisServer, fmt.Sprintf("-redis-port=%d", port)}}
			},
			groups: []string{oneGroup},
		},
	}
}
