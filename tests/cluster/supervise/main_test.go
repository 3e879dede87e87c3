package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is supervise itself when it is called under this name.
func TestMain(m *testing.M) {
	if os.Getenv("SUPERVISE_UNDER_TEST") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

type supervised struct {
	*exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

func start(t *testing.T, args ...string) supervised {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "SUPERVISE_UNDER_TEST=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return supervised{cmd, stdin, bufio.NewReader(stdout)}
}

func (s supervised) line(t *testing.T) string {
	t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatal("the program printed nothing:", err)
	}
	return strings.TrimSpace(line)
}

func (s supervised) exit() int {
	_ = s.Wait()
	return s.ProcessState.ExitCode()
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still waiting until", what)
		}
	}
}

// gone also holds for a zombie: nothing of it runs.
func gone(pid string) bool {
	cmdline, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err != nil || len(cmdline) == 0
}

func TestEndOfInputStopsTheProgramAndItsChildren(t *testing.T) {
	s := start(t, "--", "sh", "-c", "sleep 1000 & echo $!; wait")
	grandchild := s.line(t)
	s.stdin.Close()
	if code := s.exit(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", code)
	}
	waitUntil(t, "the program's child is gone", func() bool { return gone(grandchild) })
}

func TestAProgramThatIgnoresSigtermIsKilled(t *testing.T) {
	s := start(t, "--grace", "100ms", "--", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
	s.line(t)
	s.stdin.Close()
	if code := s.exit(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d", code)
	}
}

func TestTheProgramsOwnExitCodeIsPassedOn(t *testing.T) {
	if code := start(t, "--", "sh", "-c", "exit 7").exit(); code != 7 {
		t.Errorf("exit code %d", code)
	}
}

func TestKillingSuperviseKillsTheProgram(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	s := start(t, "--pid-file", pidFile, "--", "sh", "-c", "echo $$; exec sleep 1000")
	pid := s.line(t)
	waitUntil(t, "the pid file is there", func() bool { _, err := os.Stat(pidFile); return err == nil })
	written, _ := os.ReadFile(pidFile)
	if strings.TrimSpace(string(written)) != pid {
		t.Errorf("the file says %q, the program %q", written, pid)
	}
	_ = s.Process.Signal(syscall.SIGKILL)
	waitUntil(t, "the program is gone", func() bool { return gone(pid) })
}

func TestADirectoryGoesWhenItsLastUserHasEnded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "instance")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	user := start(t, "--instance", dir, "--", "sh", "-c", "echo ready; exec sleep 1000")
	user.line(t)
	remover := start(t, "--remove", dir)
	remover.stdin.Close()
	if _, err := os.Stat(dir); err != nil {
		t.Error("removed while in use")
	}
	user.stdin.Close()
	user.exit()
	if code := remover.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("the directory is still there")
	}
}

func TestADirectoryMarkedKeepStays(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keep"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	remover := start(t, "--remove", dir)
	remover.stdin.Close()
	if code := remover.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error("the directory is gone")
	}
}

func TestADetachedProgramOutlivesSupervise(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	s := start(t, "--detach", "--pid-file", pidFile, "--", "sleep", "1000")
	if code := s.exit(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	written, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(written))
	if gone(pid) {
		t.Error("the program is gone")
	}
	number, _ := strconv.Atoi(pid)
	if session, _ := syscall.Getpgid(number); session != number {
		t.Error("the program has no session of its own")
	}
	_ = syscall.Kill(number, syscall.SIGKILL)
}
