package main

import (
	"context"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// instructions are those of the last stage of the Dockerfile.
func instructions(t *testing.T) []string {
	t.Helper()
	text := readDocument(t, "Dockerfile")
	at := strings.LastIndex(text, "\nFROM ")
	return strings.Split(strings.TrimSpace(text[at:]), "\n")
}

func TestTheImageIsTheProgramAloneAndNotRoots(t *testing.T) {
	all := instructions(t)
	for _, want := range []string{
		`FROM scratch`, `USER 65532:65532`, `VOLUME /data`, `STOPSIGNAL SIGTERM`, `ENTRYPOINT ["/dtcgate"]`, `CMD ["serve"]`,
	} {
		if !slices.Contains(all, want) {
			t.Errorf("the Dockerfile's last stage lacks %q", want)
		}
	}
	health := regexp.MustCompile(`(?m)^HEALTHCHECK .* CMD \["/dtcgate", "health"\]$`)
	if !health.MatchString(strings.Join(all, "\n")) {
		t.Error("the image does not ask itself how it is")
	}
}

// A composed is what is held of compose.yaml.
type composed struct {
	Services map[string]struct {
		Image       string
		ReadOnly    bool     `yaml:"read_only"`
		CapDrop     []string `yaml:"cap_drop"`
		SecurityOpt []string `yaml:"security_opt"`
		Environment map[string]string
		Secrets     []string
		Ports       []string
		Networks    []string
	}
	Secrets map[string]struct{ File string }
}

func TestTheComposedServersHoldNoPasswordAndNoPrivilege(t *testing.T) {
	var c composed
	if err := yaml.Unmarshal([]byte(readDocument(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	servers := 0
	for name, s := range c.Services {
		for variable, value := range s.Environment {
			if strings.Contains(variable, "PASSWORD") && !strings.HasSuffix(variable, "_FILE") || regexp.MustCompile(`://[^/@]*:[^/@]*@`).MatchString(value) {
				t.Errorf("%s: %s holds a password", name, variable)
			}
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].File == "" {
				t.Errorf("%s: the secret %s is no file", name, secret)
			}
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: %s is open to everybody", name, port)
			}
		}
		if s.Image != "dtcgate" {
			continue
		}
		servers++
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may do more than it needs", name)
		}
	}
	if servers != 2 {
		t.Errorf("%d servers are composed", servers)
	}
}

// imageVariable has a static program built for the test, which takes minutes where nothing of it is compiled yet.
const imageVariable = "DTCGATE_TEST_IMAGE"

// staticProgram is a dtcgate that needs nothing beside it: this test's own, where the tests are built without C, or one that is built now.
func staticProgram(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("dtcgate")
	if err != nil {
		t.Fatal(err)
	}
	program, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if !slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return path
	}
	if os.Getenv(imageVariable) == "" {
		t.Skipf("this test's program is linked to C: set %s=1, or CGO_ENABLED=0", imageVariable)
	}
	path = filepath.Join(t.TempDir(), "dtcgate")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building a static program: %v\n%s", err, out)
	}
	return path
}

// imageUser is the one of the Dockerfile.
const imageUser = 65532

// newImage makes the root that the Dockerfile's last stage makes: what it copies and nothing else, of which only /data is the user's.
func newImage(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := copyTo(staticProgram(t), filepath.Join(root, "dtcgate")); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(root, "data")
	for _, err := range []error{os.Mkdir(data, 0o700), os.Chown(data, imageUser, imageUser), os.Chmod(root, 0o555)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for dir := filepath.Dir(root); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // the test's own folders: chroot's user must get through
			t.Fatal(err)
		}
	}
	return root
}

func copyTo(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// inImage is a command as the image runs it.
func inImage(ctx context.Context, root, listen string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/dtcgate", args...)
	cmd.Dir = "/"
	cmd.Env = []string{"DTCGATE_DATA=/data", "TMPDIR=/data", "DTCGATE_LISTEN=" + listen, "DTCGATE_AGENT_NETWORKS=192.0.2.0/24"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser}}
	return cmd
}

// TestTheProgramRunsAloneInARootOfItsOwn is the image by hand, where no container can be run.
func TestTheProgramRunsAloneInARootOfItsOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot takes root")
	}
	root, listen := newImage(t), freeAddress(t)
	var said strings.Builder
	server := inImage(t.Context(), root, listen, "serve")
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Skipf("no chroot here: %v", err)
	}
	ready := false
	for end := time.Now().Add(30 * time.Second); !ready && time.Now().Before(end); {
		ready = inImage(t.Context(), root, listen, "health").Run() == nil
	}
	if !ready {
		t.Error("it did not get ready")
	}
	for _, args := range [][]string{{"demo", "load"}, {"key", "list"}, {"backup", "/data/backup"}, {"backup", "verify", "/data/backup"}} {
		if out, err := inImage(t.Context(), root, listen, args...).CombinedOutput(); err != nil {
			t.Errorf("dtcgate %v: %v: %s", args, err, out)
		}
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, said.String())
	}
	if err := inImage(t.Context(), root, listen, "health").Run(); err == nil {
		t.Error("a server that is gone is healthy")
	}
	if here, err := os.ReadDir(root); err != nil || len(here) != 2 {
		t.Errorf("it wrote beside its folder: %v, %v", here, err)
	}
}
