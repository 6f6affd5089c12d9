package main

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// completeWith has a shell complete the last of some words, and gives what it offers.
func completeWith(t *testing.T, words ...string) []string {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	script := scriptFor(t, "bash") + "COMP_WORDS=(dtcgate \"$@\"); COMP_CWORD=$#; _dtcgate; printf '%s\\n' \"${COMPREPLY[@]}\"\n"
	out, err := exec.Command(bash, append([]string{"-c", script, "bash"}, words...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Fields(string(out))
}

func scriptFor(t *testing.T, shell string) string {
	t.Helper()
	var out, wrong bytes.Buffer
	if status := run(t.Context(), []string{"dtcgate", "completion", shell}, &out, &wrong); status != exitDone {
		t.Fatalf("status %d: %s", status, wrong.String())
	}
	return out.String()
}

func TestBashCompletesCommandsFlagsAndValues(t *testing.T) {
	for line, want := range map[string]string{
		"fr": "freeze", "key mi": "mint", "key mint --req": "--requires-approval", "freeze --rea": "", "freeze lift --rea": "--reason",
		"resume cam": "campaign", "doctor --lis": "--listen", "key --data x mi": "mint", "completion z": "zsh", "nothing": "",
	} {
		got := completeWith(t, strings.Split(line, " ")...)
		if want == "" && len(got) > 0 || want != "" && !slices.Contains(got, want) {
			t.Errorf("%q is completed to %q, want %q", line, got, want)
		}
	}
}

func TestEveryShellHasAScriptWithEveryCommand(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := scriptFor(t, shell)
		for _, command := range []string{"' key mint'", "' freeze lift'", "' approvals grants list'", "' doctor'"} {
			if !strings.Contains(script, command) {
				t.Errorf("the script of %s lacks %s", shell, command)
			}
		}
	}
}
