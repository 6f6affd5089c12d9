package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// completion prints a script by which a shell completes commands, flags and their values. It is made from the command line as kong knows it, so
// that it cannot fall behind.
type completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish. For bash: source <(dtcgate completion bash)"`
}

func (c *completion) Run(a *app) error {
	var whole cli
	all := completions(newParser(&whole).Model.Node, "", nil)
	map[string]func(io.Writer, []completed){"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell](a.out, all)
	return nil
}

// A completed is what may follow a command: " key mint" for `dtcgate key mint`, "" for the program alone.
type completed struct {
	path  string
	words []string
}

// completions lists what may follow a command, and all below it. flags are those of the commands above.
func completions(n *kong.Node, path string, flags []string) []completed {
	here := completed{path: path}
	for _, f := range n.Flags {
		if !f.Hidden {
			flags = append(flags[:len(flags):len(flags)], "--"+f.Name)
		}
	}
	var below []completed
	for _, child := range n.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		here.words = append(here.words, child.Name)
		below = append(below, completions(child, path+" "+child.Name, flags)...)
	}
	for _, arg := range n.Positional {
		here.words = append(here.words, arg.EnumSlice()...)
	}
	here.words = append(here.words, flags...)
	return append([]completed{here}, below...)
}

// bashScript follows the words of the line from command to command, and offers what may follow the last.
func bashScript(w io.Writer, all []completed) {
	fmt.Fprint(w, "_dtcgate() {\n  local at='' word words=''\n  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$at $word\" in\n")
	for _, c := range all[1:] {
		fmt.Fprintf(w, "      '%s') at='%s' ;;\n", c.path, c.path)
	}
	fmt.Fprint(w, "    esac\n  done\n  case \"$at\" in\n")
	for _, c := range all {
		fmt.Fprintf(w, "    '%s') words='%s' ;;\n", c.path, strings.Join(c.words, " "))
	}
	fmt.Fprint(w, "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _dtcgate dtcgate\n")
}

// zshScript is the one of bash: zsh knows how to run it.
func zshScript(w io.Writer, all []completed) {
	fmt.Fprint(w, "#compdef dtcgate\nautoload -Uz bashcompinit && bashcompinit\n")
	bashScript(w, all)
}

func fishScript(w io.Writer, all []completed) {
	fmt.Fprint(w, "function __dtcgate_at\n  set -l at ''\n  for word in (commandline -opc)[2..]\n    switch \"$at $word\"\n")
	for _, c := range all[1:] {
		fmt.Fprintf(w, "      case '%s'\n        set at '%s'\n", c.path, c.path)
	}
	fmt.Fprint(w, "    end\n  end\n  test \"$at\" = \"$argv[1]\"\nend\ncomplete -c dtcgate -f\n")
	for _, c := range all {
		fmt.Fprintf(w, "complete -c dtcgate -n \"__dtcgate_at '%s'\" -a '%s'\n", c.path, strings.Join(c.words, " "))
	}
}
