// Command respgate is the proxy: `respgate -c respgate.yml`.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"respgate/conf"
	"respgate/conf/importer"
	"respgate/internal/lab"
)

// version is set by the linker: -X main.version=...
var version = "dev"

// Exit codes: 0 done, 1 the configuration is wrong or the proxy could not start or go on, 2 the command line is wrong.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "lab":
			return lab.Main(args[1:], stdout, stderr)
		case "import":
			return importFile(args[1:], stdout, stderr)
		}
	}
	flags := flag.NewFlagSet("respgate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, "usage: respgate -c respgate.yml [-t]   serve, or only check the file\n       respgate import nutcracker.yml  print the file for a twemproxy configuration\n       respgate lab                    try it: servers, sentinels, a manager and a proxy on this machine\n       respgate -version\n\n")
		flags.PrintDefaults()
	}
	file := flags.String("c", "respgate.yml", "configuration `file`")
	check := flags.Bool("t", false, "check the configuration and exit")
	show := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	switch {
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "respgate: unexpected argument %q\n", flags.Arg(0))
		flags.Usage()
		return exitUsage
	case *show:
		fmt.Fprintln(stdout, "respgate", buildVersion())
		return exitOK
	case *check:
		return checkFile(*file, stdout, stderr)
	}
	if err := serve(*file, stderr); err != nil {
		fmt.Fprintln(stderr, "respgate:", err)
		return exitFailed
	}
	return exitOK
}

// buildVersion is the linker's version, or that of the module if it was installed as one.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); version == "dev" && ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return version
}

// checkFile is -t: every error of the file, or none.
func checkFile(name string, stdout, stderr io.Writer) int {
	cf, err := conf.Load(name)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	for _, w := range cf.Warnings() {
		fmt.Fprintln(stderr, "warning:", w)
	}
	fmt.Fprintf(stdout, "%s: ok, %d pools\n", name, len(cf.Pools))
	return exitOK
}

// importFile is `respgate import`: the new file on stdout, warnings on stderr.
func importFile(args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "usage: respgate import nutcracker.yml > respgate.yml")
		return exitUsage
	}
	in, err := os.ReadFile(args[0])
	if err != nil {
		fmt.Fprintln(stderr, "respgate:", err)
		return exitFailed
	}
	out, warnings, err := importer.Import(in, args[0])
	for _, w := range warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	if _, err := stdout.Write(out); err != nil {
		fmt.Fprintln(stderr, "respgate:", err)
		return exitFailed
	}
	return exitOK
}
