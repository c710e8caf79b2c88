package admin

var (
	errsPool  = []string{"-NOPOOL no such pool 'x'"}
	errsGroup = []string{"-NOPOOL no such pool 'x'", "-NOGROUP no such group 'x' in pool 'y'"}
)

// pool and the like are the arguments that several commands have.
var (
	poolArgument     = argument{name: "pool", kind: text}
	poolOptional     = argument{name: "pool", kind: text, optional: true}
	nodeOptional     = argument{name: "node", kind: block, optional: true, parts: []argument{{name: "host", kind: text}, {name: "port", kind: integer}}}
	patternsArgument = argument{name: "pattern", kind: text, multiple: true}
)

// proxyCommands is PROXY: what the console is there for.
func proxyCommands() []*command {
	return []*command{{
		name: "proxy", group: "proxy", permission: reader,
		summary: "A container for the commands of the proxy",
		subcommands: []*command{{
			name: "pools", permission: reader,
			summary:   "Shows the pools, their state and their counters",
			arguments: []argument{poolOptional},
			reply: "An array of maps, one a pool: " + keysOf(poolRow) + ". " +
				"`commands-adopted` are those of its servers that the proxy does not know itself, `commands-lacking` those that are refused because some group does not have them; the log names them.",
			errors:  errsPool,
			example: "PROXY POOLS",
			handler: proxyPools,
		}, {
			name: "masters", permission: reader,
			summary:   "Shows the groups and the master that each has",
			arguments: []argument{{name: "scope", kind: block, optional: true, parts: []argument{poolArgument, {name: "group", kind: text, optional: true}}}},
			reply:     "An array of maps, one a group: " + keysOf(masterRow) + ".",
			errors:    errsGroup,
			example:   "PROXY MASTERS cache g1",
			handler:   proxyMasters,
		}, {
			name: "sentinels", permission: reader,
			summary:   "Shows the links to the sentinels, and which of them is the active one",
			arguments: []argument{poolOptional},
			reply:     "An array of maps, one a sentinel of a pool: " + keysOf(sentinelRow) + ".",
			errors:    errsPool,
			example:   "PROXY SENTINELS cache",
			handler:   proxySentinels,
		}, {
			name: "sessions", permission: reader,
			summary:   "Shows how many clients have transactions, blocking commands, subscriptions and the like, and the links this takes",
			arguments: []argument{poolOptional},
			reply: "An array of maps, one a pool: " + keysOf(sessionRow) + ". The first five count clients, `links` the connections to masters that belong to one client at a time; " +
				"a group may have `group-links-max` of them (the key `session_links`), idle ones included, which make room. `PROXY MASTERS` has them by group.",
			errors:  errsPool,
			example: "PROXY SESSIONS cache",
			handler: proxySessions,
		}, {
			name: "events", permission: reader,
			summary: "Shows what happened to the masters, the newest first: switches, false alarms, authority that was lost",
			arguments: []argument{
				{name: "scope", kind: block, optional: true, parts: []argument{poolArgument, {name: "group", kind: text, optional: true}}},
				{name: "count", kind: integer, token: "COUNT", optional: true},
			},
			reply: "An array of maps, one an event, 10 unless COUNT says otherwise: " + keysOf(eventRow) + ". " +
				"`event` is `switched`; `false-alarm`, if requests waited and went on to the same master; `given-up`, a planned switch-over that was not done; `removed`, if a reload or a manager took the group away meanwhile; `authority-lost` and " +
				"`authority-regained`; or `holding`: it is going on. `at` is the first sign of it, which is `cause`; `sign-ms` to `released-ms` are from then to: a sentinel tells of a " +
				"failover (`sign`), their votes make one the new master, it says master in ROLE, every loop has it, requests go to it; -1 is a step that was not there. " +
				"Of `authority-regained`, `released-ms` is how long it was lost. `source` is `sentinel`, `early` (Sentinel, and taken before it was announced), `planned` or `operator`. " +
				"`votes` are what the sentinels said when the master was taken, a map each: " + keysOf(voteRow) + ". The numbers of requests are of the group from up to two seconds before the first sign. " +
				"`repeats` counts false alarms with the same cause just before, which are not shown.",
			errors:  append([]string{"-ERR value is not an integer or out of range"}, errsGroup...),
			example: "PROXY EVENTS cache g1 COUNT 3",
			handler: proxyEvents,
		}, {
			name: "manager", permission: reader,
			summary:   "Shows the managers, and which version of the topology is applied",
			arguments: []argument{poolOptional},
			reply:     "An array of maps, one a manager of a pool: " + keysOf(managerRow) + ".",
			errors:    errsPool,
			example:   "PROXY MANAGER",
			handler:   proxyManager,
		}, {
			name: "route", permission: reader,
			summary:   "Shows where keys belong: hash tag, hash, group and its master",
			arguments: []argument{poolArgument, {name: "key", kind: text, multiple: true}},
			reply:     "An array of maps, one a key, in their order: " + keysOf(routeRow) + ".",
			errors:    errsPool,
			example:   "PROXY ROUTE cache user:1 user:{2}:cart",
			handler:   proxyRoute,
		}, {
			name: "info", permission: reader,
			summary:   "Shows one section, or all but commands and latency: " + sectionNames(),
			arguments: []argument{{name: "section", kind: text, optional: true}},
			reply:     "Text in the style of Redis' INFO (a verbatim string in RESP3); pools, masters, sentinels, manager, sessions and events are aligned tables.",
			errors:    []string{"-ERR unknown section 'x'"},
			example:   "PROXY INFO masters",
			handler:   proxyInfo,
		}, {
			name: "config", permission: reader,
			summary: "Shows or changes settings of the servers: CONFIG GET or CONFIG SET on the master of a group, or of each group",
			arguments: []argument{poolArgument, {name: "group|ALL", kind: text}, {name: "action", kind: oneOf, parts: []argument{
				{name: "pattern", kind: text, token: "GET"},
				{name: "name_value", kind: block, token: "SET", parts: []argument{{name: "name", kind: text}, {name: "value", kind: text}}},
			}}},
			reply: "GET: an array of maps, one a setting: " + keysOf(serverSettingRow) + "; with ALL, a master that cannot be asked is a map with a `cause` and no `name`. " +
				"`server` is the address that was asked. Passwords are `***`. SET: `+OK` when all have it; it needs the operator's password. " +
				"Only masters are asked: what is to hold after a failover has to be set on the replicas as well, and what is to hold after a restart, in the file of the server.",
			errors: append([]string{
				"-ERR what the server answered, or why it cannot be asked, with its group and address; of SET with ALL also the groups that have it by then",
				"-NOTREADY the group has no master, or the pool no groups",
				"-NOPERM SET with the stats password",
			}, errsGroup...),
			example: "PROXY CONFIG cache ALL GET 'maxmemory*'",
			handler: proxyConfig,
		}, {
			name: "switch", permission: operator,
			summary:   "Makes a replica the master of a group, or of ALL, through Sentinel, or points the group at a node that says it is a master",
			arguments: []argument{poolArgument, {name: "group", kind: text}, nodeOptional},
			reply: "`+OK <old master> <new master> <milliseconds>` when the new master serves, and ` warning: <text>` after it if the old one could not be made a replica, or does not get what the new one has. ALL: the groups one by one, each when the one before is as it was, until the first failure: " +
				"an array of `+<group> OK <old master> <new master> <milliseconds>`, and at its end the error, if there was one. Sentinel's `down-after-milliseconds` of the group has to be 1000 or more, and `hold.timeout` of the pool 2s.",
			errors: append([]string{
				"-INPROG a switch of the group, here or by another proxy, or a failover, is running already",
				"-NOQUORUM too few sentinels agree or answer",
				"-NOREPLICA no replica can take over, or one that could is not connected or too far behind",
				"-TIMEOUT it was not done in time; the text says what was left",
				"-NOTREADY the pool or the group cannot be switched now",
				"-NOTMASTER the node that was named is no master, or that of another group",
				"-NOPERM the pool's user may not do at the master what a switch takes",
				"-ERR it must not be begun: the text says which setting is in the way, and of what",
			}, errsGroup...),
			example: "PROXY SWITCH cache g1",
			handler: proxySwitch,
		}, {
			name: "rotate", permission: operator,
			summary:   "Makes the next sentinel of a pool, or that one, the active one",
			arguments: []argument{poolArgument, nodeOptional},
			reply:     "`+OK`.",
			errors:    errsPool,
			example:   "PROXY ROTATE cache",
			handler:   proxyRotate,
		}, {
			name: "reload", permission: operator,
			summary:   "Reads the configuration file again, or says what that would change",
			arguments: []argument{{name: "dryrun", kind: pureToken, token: "DRYRUN", optional: true}},
			reply:     "An array of lines, one a change; with DRYRUN also how many of 10,000 sample keys would move. DRYRUN does not try whether a new address can be bound.",
			errors:    []string{"-ERR every mistake of the file, with line and key; nothing was changed"},
			example:   "PROXY RELOAD DRYRUN",
			handler:   proxyReload,
		}, {
			name: "loglevel", permission: reader,
			summary:   "Shows the log level, or sets it: debug, info, warn, error",
			arguments: []argument{{name: "level", kind: text, optional: true}},
			reply:     "The level, or `+OK`. Setting it needs the operator's password.",
			errors:    []string{"-ERR unknown log level 'x'", "-NOPERM with the stats password"},
			example:   "PROXY LOGLEVEL debug",
			handler:   proxyLogLevel,
		}},
	}}
}

// connectionCommands are Redis' commands about the connection itself.
func connectionCommands() []*command {
	const group = "connection"
	credentials := []argument{{name: "username", kind: text}, {name: "password", kind: text}}
	return []*command{{
		name: "ping", group: group, permission: reader,
		summary:    "Answers PONG, or the message",
		arguments:  []argument{{name: "message", kind: text, optional: true}},
		subscribed: true,
		reply:      "`+PONG`, or the message; in RESP2 with a subscription an array of `pong` and the message.", example: "PING", handler: ping,
	}, {
		name: "echo", group: group, permission: reader,
		summary:   "Answers the message",
		arguments: []argument{{name: "message", kind: text}},
		reply:     "The message.", example: "ECHO hello", handler: echo,
	}, {
		name: "auth", group: group, permission: anyone,
		summary:   "Authenticates the connection with the operator's password or the stats password; the user, if given, is 'default'",
		arguments: []argument{{name: "username", kind: text, optional: true}, {name: "password", kind: text}},
		reply:     "`+OK`.",
		errors:    []string{"-WRONGPASS, later each time; the tenth closes the connection", "-ERR if no password is configured"},
		example:   "AUTH secret", handler: auth,
	}, {
		name: "hello", group: group, permission: anyone,
		summary: "Chooses RESP2 or RESP3, and may authenticate and name the connection",
		arguments: []argument{{name: "arguments", kind: block, optional: true, parts: []argument{
			{name: "protover", kind: integer},
			{name: "username_password", kind: block, token: "AUTH", optional: true, parts: credentials},
			{name: "clientname", kind: text, token: "SETNAME", optional: true},
		}}},
		reply:   "A map: server, version, proto, id, mode, role, modules.",
		errors:  []string{"-NOPROTO unsupported protocol version", "-NOAUTH", "-WRONGPASS"},
		example: "HELLO 3", handler: hello,
	}, {
		name: "quit", group: group, permission: anyone,
		summary: "Closes the connection", reply: "`+OK`, then the end.", example: "QUIT", handler: quit, subscribed: true,
	}, {
		name: "reset", group: group, permission: anyone,
		summary: "Makes the connection as it was at its beginning: RESP2, no name, not authenticated",
		reply:   "`+RESET`.", example: "RESET", handler: reset, subscribed: true,
	}, {
		name: "select", group: group, permission: reader,
		summary:   "Selects database 0, the only one",
		arguments: []argument{{name: "index", kind: integer}},
		reply:     "`+OK`.", errors: []string{"-ERR DB index is out of range"}, example: "SELECT 0", handler: selectDB,
	}, {
		name: "client", group: group, permission: reader,
		summary: "A container for commands about the connections to the admin port",
		subcommands: []*command{{
			name: "id", permission: reader, summary: "Tells the id of this connection",
			reply: "An integer.", example: "CLIENT ID", handler: clientID,
		}, {
			name: "getname", permission: reader, summary: "Tells the name of this connection",
			reply: "The name, or null.", example: "CLIENT GETNAME", handler: clientGetName,
		}, {
			name: "setname", permission: reader, summary: "Names this connection, at most 128 bytes without spaces",
			arguments: []argument{{name: "connection-name", kind: text}},
			reply:     "`+OK`.", errors: []string{"-ERR Client names cannot contain spaces, newlines or special characters."},
			example: "CLIENT SETNAME alice", handler: clientSetName,
		}, {
			name: "setinfo", permission: reader, summary: "Tells LIB-NAME or LIB-VER of the client",
			arguments: []argument{{name: "attribute", kind: text}, {name: "value", kind: text}},
			reply:     "`+OK`.", errors: []string{"-ERR Unrecognized option 'x'"},
			example: "CLIENT SETINFO LIB-NAME mytool", handler: clientSetInfo,
		}, {
			name: "info", permission: reader, summary: "Shows this connection",
			reply: "The line of CLIENT LIST.", example: "CLIENT INFO", handler: clientInfoLine,
		}, {
			name: "list", permission: reader, summary: "Shows the connections to the admin port, a line each",
			reply: "Text, with the fields of Redis that mean something here.", example: "CLIENT LIST", handler: clientList,
		}, {
			name: "kill", permission: operator, summary: "Closes the connection to the admin port with that id",
			arguments: []argument{{name: "client-id", kind: integer, token: "ID"}},
			reply:     "How many were closed: 1 or 0.", errors: []string{"-ERR client-id should be greater than 0"},
			example: "CLIENT KILL ID 7", handler: clientKill,
		}},
	}}
}

// serverCommands are the commands of Redis that tools ask any server.
func serverCommands() []*command {
	const group = "server"
	names := argument{name: "command-name", kind: text, optional: true, multiple: true}
	return []*command{{
		name: "info", group: group, permission: reader,
		summary:   "Shows the process in the sections and words of Redis' INFO, for tools that read it",
		arguments: []argument{{name: "section", kind: text, optional: true, multiple: true}},
		reply:     "Text (a verbatim string in RESP3): server, clients, memory, stats, replication, cluster.",
		example:   "INFO stats", handler: redisInfo,
	}, {
		name: "time", group: group, permission: reader,
		summary: "Tells the time of the proxy's machine",
		reply:   "An array of two strings: Unix seconds, and microseconds.", example: "TIME", handler: tellTime,
	}, {
		name: "config", group: group, permission: reader,
		summary: "A container for the settings that tools ask for",
		subcommands: []*command{{
			name: "get", permission: reader, summary: "Shows the settings that match the patterns",
			arguments: []argument{patternsArgument},
			reply:     "A map of names and values.", example: "CONFIG GET '*'", handler: configGet,
		}, {
			name: "set", permission: operator, summary: "Sets loglevel; all else is in the configuration file",
			arguments: []argument{{name: "parameter_value", kind: block, multiple: true, parts: []argument{{name: "parameter", kind: text}, {name: "value", kind: text}}}},
			reply:     "`+OK`.", errors: []string{"-ERR Unknown option or number of arguments for CONFIG SET - 'x'"},
			example: "CONFIG SET loglevel debug", handler: configSet,
		}},
	}, {
		name: "command", group: group, permission: reader,
		summary: "Shows all commands, in the shape redis-cli and client libraries read",
		reply:   "An array of arrays of ten.", example: "COMMAND", handler: commandAll,
		subcommands: []*command{{
			name: "count", permission: reader, summary: "Tells how many commands there are",
			reply: "An integer.", example: "COMMAND COUNT", handler: commandCount,
		}, {
			name: "list", permission: reader, summary: "Lists the names of the commands",
			arguments: []argument{{name: "filterby", kind: block, token: "FILTERBY", optional: true, parts: []argument{{name: "pattern", kind: text, token: "PATTERN"}}}},
			reply:     "An array of names.", example: "COMMAND LIST FILTERBY PATTERN 'proxy*'", handler: commandList,
		}, {
			name: "info", permission: reader, summary: "Shows these commands, or all",
			arguments: []argument{names},
			reply:     "An array of arrays of ten; null for a name that is none.", example: "COMMAND INFO proxy", handler: commandInfo,
		}, {
			name: "docs", permission: reader, summary: "Documents these commands, or all; what redis-cli's help, TAB and hints are made of",
			arguments: []argument{names},
			reply:     "A map of names and maps.", example: "COMMAND DOCS 'proxy|switch'", handler: commandDocs,
		}},
	}}
}
