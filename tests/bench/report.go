package main

import (
	"context"
	"fmt"
)

const reportAbout = `A comparison with nutcracker in half a minute, for CI: few scenarios, few requests. It prints ratios and judges nothing:
once the programs have started it exits with 0. Such short runs on a busy machine are noise; see bench compare.`

func reportMain(ctx context.Context, args []string) error {
	c := comparison{
		rounds: 2, scale: 0.2, scenarios: []string{"get_c1", "get_c50", "get_P16", "mget10", "get16k"},
		builtIn: []string{"nutcracker", "respgate"}, serverPorts: []int{0, 0}, command: "bench report",
	}
	f := newFlags("report", reportAbout)
	c.place.flags(f)
	f.StringVar(&c.respgate, "respgate", "bin/respgate", "the proxy's program")
	if err := parse(f, args); err != nil {
		return err
	}
	started, err := c.run(ctx)
	if started && err != nil && ctx.Err() == nil {
		fmt.Printf("the report is incomplete: %v\n", err)
		return nil
	}
	return err
}
