// Command dtcgate is the server and all that an operator does beside it.
//
// run reads a command line with kong and calls the Run method of the chosen command; each command has a file of its
// own. Every flag is also an environment variable: --audit-key is DTCGATE_AUDIT_KEY. Nothing here decides about a call.
// A command opens the store that --data or --db names, calls the room that knows, prints what came of it, and records
// what it changed in the same transaction. It may run beside a server on the same database; the server sees the change
// with the next call, for it keeps nothing in memory.
//
// Whoever can run these commands can read the database, so they ask for no secret: the actor on record is operator:cli,
// and a vote names the person it is cast for.
//
// The status is 0 when all is done, 1 when something was refused or failed, 2 when the command line was wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// cli is the command line.
type cli struct {
	storage

	Serve      serve        `cmd:"" help:"Serve MCP and REST."`
	Key        keyCmds      `cmd:"" help:"Keys that let agents in."`
	Subtoken   subTokenCmds `cmd:"" help:"What keys have given on."`
	Jwt        jwtCmds      `cmd:"" name:"jwt" help:"Agents that issuers of tokens vouch for."`
	Person     personCmds   `cmd:"" help:"People who decide about parked calls."`
	Role       roleCmds     `cmd:"" help:"What people may do, and let agents do."`
	Approvals  approvalCmds `cmd:"" help:"Calls that wait for a person."`
	Jobs       jobCmds      `cmd:"" help:"Calls that outlive their answers."`
	Policy     policyCmds   `cmd:"" help:"What agents may do, as one document in versions."`
	Trust      trustCmds    `cmd:"" help:"How much agents are trusted."`
	Freeze     freezeCmds   `cmd:"" help:"Stop what agents write, at once, and let it go on."`
	Undo       undo         `cmd:"" help:"Take back what one key did, newest first."`
	Audit      auditCmds    `cmd:"" help:"The record of what happened."`
	Backup     backupCmds   `cmd:"" help:"Copy the database while it is in use, and check such a copy."`
	Restore    restoreCmds  `cmd:"" help:"Put a backup back, to a place where there is nothing."`
	Doctor     doctor       `cmd:"" help:"Look at all that a server stands on, and say what to do. Give it the server's flags."`
	Tools      toolCmds     `cmd:"" help:"What agents can call."`
	Vault      vaultCmds    `cmd:"" help:"What people have connected at outside systems."`
	Webhook    webhookCmds  `cmd:"" help:"Services outside that are told what happens to requests and jobs."`
	Ads        adsCmds      `cmd:"" help:"Ad accounts."`
	Resume     resume       `cmd:"" help:"Let a paused campaign or discount go on."`
	Demo       demoCmds     `cmd:"" help:"The demo merchant."`
	Health     health       `cmd:"" help:"Ask the server on this machine whether it is ready."`
	Systemd    systemd      `cmd:"" help:"Print a unit for systemd."`
	Completion completion   `cmd:"" help:"Print a script that completes commands in a shell."`
	Version    version      `cmd:"" help:"Say which version this is."`
}

// registry is every tool there is.
var registry = tools.NewRegistry(dtc.Tools()...)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitSick   = 2 // of doctor: 1 are warnings
)

// run does what args say, of which the first is the program's name, and gives the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	helped := false
	parser := newParser(&c, kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }))
	command, err := parser.Parse(args[1:])
	if helped {
		return exitDone
	}
	if err != nil {
		explainUsage(stderr, err)
		return exitUsage
	}
	out := &output{w: stdout}
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.Run(&app{storage: c.storage, out: out, err: stderr, self: args[0]})
	if err == nil {
		err = out.err
	}
	if found := (unwell{}); errors.As(err, &found) && found.verdict == sick {
		return exitSick
	}
	if err != nil {
		explain(stderr, err)
		return exitFailed
	}
	return exitDone
}

func newParser(c *cli, options ...kong.Option) *kong.Kong {
	return kong.Must(c, append(options,
		kong.Name("dtcgate"),
		kong.Description("A gate between AI agents and a shop: typed tools over MCP and REST, with scopes, approvals and an audit log."),
		kong.Vars{"data": defaultData},
		kong.DefaultEnvars("DTCGATE"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}))...)
}

// explainUsage says what was wrong with a command line and where to read how it goes.
func explainUsage(w io.Writer, err error) {
	fmt.Fprintf(w, "dtcgate: %v\n", err)
	command := "dtcgate"
	if wrong := (*kong.ParseError)(nil); errors.As(err, &wrong) && wrong.Context != nil && wrong.Context.Selected() != nil {
		command = wrong.Context.Selected().FullPath()
	}
	fmt.Fprintf(w, "See %s --help.\n", command)
}

// explain says what failed. A refusal brings its own next step.
func explain(w io.Writer, err error) {
	if r := (*tools.Refusal)(nil); errors.As(err, &r) {
		fmt.Fprintf(w, "dtcgate: %s %s (%s)\n", r.Message, r.Next, r.Code)
		if r.Errors != nil {
			for _, f := range r.Errors.Fields {
				fmt.Fprintf(w, "  %s %s; expected: %s\n", f.Field, f.Problem, f.Expected)
			}
		}
		return
	}
	fmt.Fprintf(w, "dtcgate: %v\n", err)
}
